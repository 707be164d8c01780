/** A data directory that turns read-only; what is there is served, what is new is refused, and nothing untrue is said. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { remountedServer } from "../helpers/faults/read_only.ts";
import { HttpRequest } from "../helpers/peers/http_request.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

test("a server whose data directory turns read-only serves what it has, refuses what is new, and goes on later", async () => {
  await using directory = await temporaryDirectory();
  await using server = await remountedServer(directory.path);
  const put = async (id: string) => {
    const url = `${server.url}/resources/${id}?name=a.log`;
    const response = await fetch(url, { method: "PUT", body: "kept\n" });
    const { code = null } = await response.json();
    return [response.status, code];
  };
  const get = async (path: string) => {
    const response = await fetch(`${server.url}${path}`);
    return [response.status, await response.text()];
  };
  const [kept, running, refused, later] = Array.from({ length: 4 }, () => crypto.randomUUID());
  assertEquals(await put(kept), [201, null]);
  using upload = new HttpRequest(`${server.url}/resources/${running}?name=b.log`, "PUT", {});
  upload.send("one\n");
  const sizeOf = async () => {
    const response = await fetch(`${server.url}/resources/${running}`);
    return (await response.json()).currentSize;
  };
  while (await sizeOf() !== 4) await new Promise((done) => setTimeout(done, 10));
  server.remount("ro");
  assertEquals(await put(refused), [507, "STORAGE_FAILED"]);
  assertEquals((await get(`/resources/${refused}`))[0], 404);
  assertEquals((await get("/readyz"))[0], 503);
  assertEquals(await get(`/resources/${kept}/content`), [200, "kept\n"]);
  upload.send("two\n");
  upload.end();
  const answer = await upload.answer();
  assertEquals([answer.status, JSON.parse(answer.body).transferStatus], [201, "COMPLETED"]);
  server.remount("rw");
  assertEquals(await put(later), [201, null]);
  assertEquals((await get("/readyz"))[0], 200);
  assertEquals(await get(`/resources/${running}/content`), [200, "one\ntwo\n"]);
});
