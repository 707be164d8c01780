/** Places of searches: who is not read makes room, and waits for a place when it is read again. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import type { StreamError } from "../../src/protocol.ts";
import { Shares } from "../../src/server/access/shares.ts";
import { type SearchPlace, SearchPlaces } from "../../src/server/http/search/places.ts";
import { within } from "../helpers/frames/connection.ts";

function onePlace(): SearchPlaces {
  const shares = new Shares({ what: "searches", max: 2, option: "", refused() {} });
  return new SearchPlaces({ max: 1, shares, stalledMs: 1 });
}

/** Takes a place as soon as somebody else has left it. */
async function taken(places: SearchPlaces): Promise<SearchPlace> {
  for (;;) {
    try {
      return places.take([]);
    } catch (error) {
      assertEquals((error as StreamError).code, "LIMIT_REACHED");
      await new Promise((done) => setTimeout(done, 1));
    }
  }
}

const turn = () => new Promise((done) => setTimeout(done));

test("a search that is read again waits until another is over", async () => {
  const places = onePlace();
  const first = places.take([]);
  first.pause();
  const second = await within("the place", taken(places));
  let goesOn = false;
  const resumed = first.resume(new AbortController().signal).then(() => goesOn = true);
  await turn();
  assertEquals(goesOn, false);
  second.end();
  await within("the place", resumed);
  first.end();
  places.take([]).end();
});

test("a search that is ended while it waits holds no place", async () => {
  const places = onePlace();
  const first = places.take([]);
  first.pause();
  const second = await within("the place", taken(places));
  const stop = new AbortController();
  const ended = first.resume(stop.signal);
  stop.abort();
  await within("the end", ended);
  second.end();
  first.end();
  places.take([]).end();
});
