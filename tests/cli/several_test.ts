/** Resources of a context, followed together where what tells of them is late. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { Several } from "../../src/cli/follow_several.ts";
import { MoodyProxy } from "../helpers/frames/moody_proxy.ts";
import { startServer } from "../helpers/server.ts";

test("a context that is closed is followed as a whole, also where its events are late", async () => {
  await using server = await startServer();
  await using proxy = await MoodyProxy.open(server.url);
  proxy.answers.push({ status: 503, headers: { "retry-after": "60" }, path: /\/events$/ });
  for (const name of ["a", "b"]) {
    const address = `${server.url}/resources/${name}.log?context=run`;
    const { status, body } = await fetch(address, { method: "PUT", body: `${name}\n` });
    assertEquals(status, 201);
    await body?.cancel();
  }
  await fetch(`${server.url}/contexts/run`, { method: "DELETE" }).then(({ body }) =>
    body?.cancel()
  );
  let printed = "";
  const several = new Several({
    write: (bytes) => Promise.resolve(void (printed += new TextDecoder().decode(bytes))),
    close: () => Promise.resolve(),
  }, {
    open: { transport: "http" },
    tail: undefined,
    live: true,
    finder: null,
    times: null,
    json: false,
    isColoured: false,
  });
  await several.context("run", { server: proxy.url, token: undefined });
  assertEquals([proxy.given, printed.split("\n").sort()], [1, ["", "a.log | a", "b.log | b"]]);
});
