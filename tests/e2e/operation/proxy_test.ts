/** Proxies of the environment, by the real program: one rule for requests and WebSockets. */
import { writeFile } from "node:fs/promises";
import { assert, assertEquals } from "@std/assert";
import { inTurn, kinds, quickest, Workspace } from "../../helpers/cli.ts";
import { ForwardProxy } from "../../helpers/peers/forward_proxy.ts";

const HOST = "stream.invalid:80";

for (const client of kinds) {
  const test = inTurn(client);
  test(`every command reaches a server by HTTP_PROXY: client on ${client}`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serve(quickest, ["--allow-host", "stream.invalid"]);
    await using proxy = await ForwardProxy.open(workspace.server);
    const env = { HTTP_PROXY: proxy.url, STREAM_SERVER: "http://stream.invalid" };
    await writeFile(workspace.path("a.txt"), "one\ntwo\n");
    for (const transport of ["ws", "http"]) {
      proxy.asked.length = 0;
      const push = ["push", "a.txt", "--transport", transport];
      const { code, stdout, stderr } = await workspace.run(client, push, { env });
      assertEquals([code, stderr], [0, ""]);
      const id = stdout.trim().split("/").at(-1)!;
      const follow = ["follow", id, "--transport", transport];
      assertEquals((await workspace.run(client, follow, { env })).stdout, "one\ntwo\n");
      assertEquals((await workspace.run(client, ["status", id], { env })).code, 0);
      assert((await workspace.run(client, ["ls"], { env })).stdout.includes(id));
      const isTunnelled = (asked: string) => /^(CONNECT|UPGRADE) /.test(asked);
      assertEquals(proxy.asked.some(isTunnelled), transport === "ws", proxy.asked.join("; "));
      for (const asked of proxy.asked) {
        assertEquals(asked.replace(/:80$/, "").split(" ")[1], "stream.invalid");
      }
    }
  });

  test(`NO_PROXY spares every command, and no loopback goes by a proxy: client on ${client}`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serve(quickest);
    await using proxy = await ForwardProxy.open(workspace.server);
    const env = { HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url, ALL_PROXY: proxy.url };
    await writeFile(workspace.path("a.txt"), "one\n");
    for (const host of [workspace.server, workspace.server.replace("127.0.0.1", "localhost")]) {
      const here = { env: { ...env, STREAM_SERVER: host } };
      const { code, stdout, stderr } = await workspace.run(client, ["push", "a.txt"], here);
      assertEquals([code, stderr], [0, ""]);
      assertEquals((await workspace.run(client, ["follow", stdout.trim()], here)).stdout, "one\n");
      assertEquals((await workspace.run(client, ["ls"], here)).code, 0);
    }
    const spared = { env: { ...env, STREAM_SERVER: `http://${HOST}`, NO_PROXY: "invalid" } };
    for (const command of [["push", "a.txt", "--retry-for", "0s"], ["ls"]]) {
      assertEquals((await workspace.run(client, command, spared)).code, 4, command[0]);
    }
    assertEquals(proxy.asked, []);
  });
}
