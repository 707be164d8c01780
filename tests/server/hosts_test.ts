/** The names by which a server without credentials may be asked. */
import { test } from "node:test";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import {
  createServer,
  framesRuntime,
  loadRuntime,
  MemoryCatalog,
  MemoryStorage,
  SignedLinks,
} from "../../mod.ts";
import { KnownHosts } from "../../src/server/access/hosts.ts";
import { DOWNLOAD_PATH, UPLOAD_PATH } from "../../src/protocol.ts";
import { HttpRequest } from "../helpers/peers/http_request.ts";
import { rawUpgrade, startServer } from "../helpers/server.ts";

/** The status of a request, and the code of its problem. */
async function ask(
  host: string,
  named: string,
  { method = "GET", path = "/resources", ...headers }: Record<string, string> = {},
): Promise<[status: number, detail: string]> {
  const length = { "Content-Length": "0" };
  using request = new HttpRequest(`http://${host}${path}`, method, {
    ...length,
    ...headers,
    Host: named,
  });
  const { status, body } = await request.answer();
  return [status, body.includes("HOST_REFUSED") ? JSON.parse(body).detail : ""];
}

test("a page that reaches the server by a name of its own lists, uploads and deletes nothing", async () => {
  await using server = await startServer();
  const port = server.host.split(":")[1];
  const evil = `evil.example:${port}`;
  const page = { Origin: `http://${evil}` };
  const asked: Record<string, string>[] = [
    { method: "GET" },
    { method: "POST", path: "/resources?name=a.txt" },
    { method: "PUT", path: "/resources/a.txt" },
    { method: "DELETE", path: "/resources/0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11" },
    { method: "OPTIONS" },
    { path: "/" },
    { path: "/healthz" },
    { path: "/metrics" },
    { path: "/no-such-path" },
    { path: "/view/0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11" },
  ];
  for (const request of asked) {
    const [status, detail] = await ask(server.host, evil, { ...request, ...page });
    assertEquals(status, 421, JSON.stringify(request));
    assertStringIncludes(detail, "--allow-host evil.example");
  }
  assertEquals(await server.resources.list({ limit: 10 }), []);
  for (const path of [UPLOAD_PATH, `${DOWNLOAD_PATH}/0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11`]) {
    using answer = await rawUpgrade(server.host, path, { Host: evil, ...page });
    assertEquals([answer.status, JSON.parse(answer.body).code], [421, "HOST_REFUSED"]);
  }
});

test("the port of Step clients knows the same names", async () => {
  await using server = await startServer({ allowHosts: ["logs.lan"] });
  const { port } = await server.server.listen({ port: 0, runtime: framesRuntime() });
  const step = `127.0.0.1:${port}`;
  using refused = await rawUpgrade(step, UPLOAD_PATH, { Host: "evil.example" });
  assertEquals(refused.status, 421);
  using taken = await rawUpgrade(step, UPLOAD_PATH, { Host: `logs.lan:${port}` });
  assertEquals(taken.status, 101);
});

test("loopback and the names that an operator gives are answered", async () => {
  await using server = await startServer({
    allowHosts: ["logs.lan", "192.168.1.5"],
    baseUrl: "https://Logs.example.org/base",
  });
  const known = [
    ...["localhost", "LOCALHOST:1", "localhost.", "a.localhost:8090", "127.0.0.1", "127.1.2.3:80"],
    ...["[::1]:8090", "logs.lan", "Logs.LAN:8443", "192.168.1.5:8090", "logs.example.org"],
  ];
  for (const name of known) assertEquals((await ask(server.host, name))[0], 200, name);
  const others = [
    ...["evil.example", "localhost.evil.example", "evil.localhost.example", "notlocalhost"],
    ...["10.0.0.1", "[::2]", "logs.lan.evil.example", "127.0.0.1.evil.example", "127.evil.example"],
  ];
  for (const name of others) assertEquals((await ask(server.host, name))[0], 421, name);
});

test("a page cannot claim a known name for a proxy, nor hide its own behind one", async () => {
  await using server = await startServer({ trustProxy: true, allowHosts: ["logs.lan"] });
  const forwarded = (name: string) => ({ "X-Forwarded-Host": name });
  assertEquals((await ask(server.host, "evil.example", forwarded("logs.lan")))[0], 421);
  assertEquals((await ask(server.host, "127.0.0.1", forwarded("evil.example")))[0], 421);
  assertEquals((await ask(server.host, "127.0.0.1", forwarded("logs.lan")))[0], 200);
  // Without a trusted proxy the field is anybody's.
  await using plain = await startServer();
  assertEquals((await ask(plain.host, "127.0.0.1", forwarded("evil.example")))[0], 200);
});

test("who listens on every interface is asked by any address, and by no foreign name", () => {
  for (const hostname of ["0.0.0.0", "::"]) {
    const hosts = new KnownHosts({ hostname, baseUrls: [], allowHosts: ["box"] });
    hosts.check(["192.168.1.5:8090", "[2001:db8::1]", "0.0.0.0", "localhost", "box:80"]);
    for (const name of ["evil.example", "1.2.3.4.evil.example", "box.example"]) {
      let refused = false;
      try {
        hosts.check([name]);
      } catch {
        refused = true;
      }
      assert(refused, name);
    }
  }
  new KnownHosts({ hostname: "fd00::5", baseUrls: [], allowHosts: [] }).check(["[fd00::5]:8090"]);
  new KnownHosts({ hostname: "", baseUrls: [], allowHosts: ["*"] }).check(["evil.example"]);
});

test("a Host that is none is the client's fault", async () => {
  await using server = await startServer();
  for (const name of ["[::1", "a b", "evil.example/", "user@localhost", ""]) {
    const [status] = await ask(server.host, name);
    assertEquals(status, 400, name);
  }
});

test("with credentials every name is answered, unless names are given", async () => {
  const access = {
    tokens: { authenticate: () => Promise.resolve(null) },
    links: new SignedLinks(),
  };
  await using open = await startServer({ access });
  assertEquals((await ask(open.host, "logs.example.org", { path: "/healthz" }))[0], 200);
  await using named = await startServer({ access, allowHosts: ["logs.example.org"] });
  assertEquals((await ask(named.host, "logs.example.org", { path: "/healthz" }))[0], 200);
  assertEquals((await ask(named.host, "evil.example", { path: "/healthz" }))[0], 421);
});

test("in another app names are that app's business, unless they are given", async () => {
  const parts = { storage: new MemoryStorage(), catalog: new MemoryCatalog() };
  const runtime = await loadRuntime();
  const request = () =>
    new Request("http://app.example/resources", { headers: { Host: "app.example" } });
  const mounted = createServer({ ...parts, runtime });
  await mounted.recover();
  assertEquals((await mounted.fetch(request())).status, 200);
  await mounted.close();
  const named = createServer({ ...parts, runtime, allowHosts: ["other.example"] });
  await named.recover();
  assertEquals((await named.fetch(request())).status, 421);
  await named.close();
});
