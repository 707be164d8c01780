/** Access control by the real program: tokens, links, and what a server does not open to strangers. */
import { chmod, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { sign } from "hono/jwt";
import { eitherRuntime, inTurn, kinds, own, quickest, Workspace } from "../../helpers/cli.ts";
import { HttpRequest } from "../../helpers/peers/http_request.ts";

const either = eitherRuntime();

const LINES = "first\nsecond\n";
const turns = Object.fromEntries(kinds.map((kind) => [kind, inTurn(kind)]));

/** Waits until the server, which looks at its file of tokens once a second, takes one no more. */
async function revoked({ server }: Workspace, token: string): Promise<void> {
  const headers = { authorization: `Bearer ${token}` };
  const deadlineAtMs = Date.now() + 5000;
  for (let status = 0; status !== 401; await sleep(20)) {
    assert(Date.now() < deadlineAtMs, `the token is still good: ${status}`);
    const answer = await fetch(`${server}/contexts`, { headers });
    await answer.body?.cancel();
    status = answer.status;
  }
}

/** Makes a token; its text. */
async function made(workspace: Workspace, args: string[], kind = quickest): Promise<string> {
  const { code, stdout, stderr } = await workspace.run(kind, [
    ...["token", "create", "--auth", "tokens"],
    ...args,
  ]);
  assertEquals([code, stderr], [0, ""]);
  return stdout.trim();
}

for (const kind of kinds) {
  const test = turns[kind]!;
  test(`${kind}: who has a token pushes, follows and shares; who has none is refused with 5`, async () => {
    await using workspace = await Workspace.open();
    const scopes = ["--scope", "upload", "--scope", "read"];
    const token = await made(workspace, [...scopes, "--expires", "1h"], kind);
    const server = await workspace.serve(kind, ["--auth", "tokens"]);
    await writeFile(workspace.path("a.log"), LINES);
    await writeFile(workspace.path("token"), `${token}\n`);
    const env = { STREAM_TOKEN: token };
    const run = (args: string[], env?: Record<string, string>) =>
      workspace.run(kind, args, { env });

    const pushed = await run(["push", "a.log"], env);
    assertEquals([pushed.code, pushed.stderr], [0, ""]);
    const reference = pushed.stdout.trim();
    const followed = await run(["follow", reference, "--token-file", "token"]);
    assertEquals([followed.code, followed.stdout], [0, LINES]);
    assertEquals((await run(["ls"], env)).code, 0);

    for (const args of [["push", "a.log"], ["follow", reference], ["status", reference], ["ls"]]) {
      const refused = await run(args);
      assertEquals([refused.code, refused.stdout], [5, ""], args.join(" "));
      assertStringIncludes(refused.stderr, "(UNAUTHORIZED)");
      const wrong = { env: { STREAM_TOKEN: "wrong" } };
      assertEquals((await workspace.run(quickest, args, wrong)).code, 5);
    }
    const removed = await run(["rm", reference], env);
    assertEquals(removed.code, 5);
    assertStringIncludes(removed.stderr, "lacks the scope admin");

    const shared = await run(["share", reference, "--expires", "10m"], env);
    assertEquals(shared.code, 0, shared.stderr);
    const link = shared.stdout.trim();
    assertMatch(link, /^http:\/\/127\.0\.0\.1:\d+\/resources\/[0-9a-f-]{36}\/content\?access=\S+$/);
    const page = await run(["share", reference, "--view"], env);
    assertMatch(page.stdout, /^http:\/\/127\.0\.0\.1:\d+\/view\/[0-9a-f-]{36}\?access=\S+\n$/);
    const byLink = await run(["follow", link]);
    assertEquals([byLink.code, byLink.stdout], [0, LINES], byLink.stderr);
    assertEquals((await run(["follow", link.slice(0, -1)])).code, 5);

    const key = await stat(workspace.path("data/secret.key"));
    assertEquals([key.size, key.mode & 0o777], [32, 0o600]);
    assert(![server.stderr.text, server.stdout.text].join().includes(token));
    await server.kill("SIGTERM");
    await workspace.serve(kind, ["--auth", "tokens", "--port", new URL(link).port]);
    assertEquals((await run(["follow", link])).stdout, LINES, "a link outlives a restart");
  });

  test(`${kind}: a token file that changes while a push runs is read again`, async () => {
    await using workspace = await Workspace.open();
    const scope = ["--scope", "upload,read"];
    const old = await made(workspace, [...scope, "--name", "old"]);
    const fresh = await made(workspace, [...scope, "--name", "fresh"]);
    await workspace.serve(kind, ["--auth", "tokens"]);
    await writeFile(workspace.path("token"), old);
    const args = ["-", "--token-file", "token", "--transport", "http"];
    const { push, reference } = await workspace.push(kind, args);
    await push.write("one\n");
    await writeFile(workspace.path("token"), fresh);
    await workspace.run(quickest, ["token", "revoke", "old", "--auth", "tokens"]);
    const status = (token: string) =>
      workspace.run(quickest, ["status", reference], { env: { STREAM_TOKEN: token } });
    await revoked(workspace, old);
    assertEquals((await status(old)).code, 5);
    await push.write("two\n");
    push.end();
    const { code, stderr } = await push.exit();
    assertEquals([code, stderr], [0, ""]);
    const followed = await workspace.run(quickest, ["follow", reference, "--token-file", "token"]);
    assertEquals(followed.stdout, "one\ntwo\n");
  });

  test(`${kind}: tokens are listed without their text, and revoked while the server runs`, async () => {
    await using workspace = await Workspace.open();
    const ci = await made(workspace, [
      ...["--scope", "upload", "--name", "ci", "--context", "run-17", "--expires", "30d"],
    ]);
    await made(workspace, ["--scope", "read"]);
    await workspace.serve(kind, ["--auth", "tokens"]);
    await writeFile(workspace.path("a.log"), LINES);
    const env = { STREAM_TOKEN: ci };
    const push = () => workspace.run(kind, ["push", "a.log", "--context", "run-17"], { env });
    assertEquals((await push()).code, 0);

    const { stdout } = await workspace.run(kind, ["token", "list", "--auth", "tokens"]);
    assertMatch(stdout, /^ci +upload +until \S+Z +context run-17\ntoken-1 +read +for ever\n$/);
    const file = await readFile(workspace.path("tokens"), "utf8");
    assert(![stdout, file].join().includes(ci));

    const revoke = ["token", "revoke", "ci", "--auth", "tokens"];
    assertEquals((await workspace.run(kind, revoke)).code, 0);
    await revoked(workspace, ci);
    assertEquals((await push()).code, 5);
    assertEquals((await workspace.run(quickest, revoke)).code, 1);
  });
}

/** An identity provider with one key. */
async function startProvider() {
  const pair = await crypto.subtle.generateKey({ name: "Ed25519" }, true, ["sign", "verify"]);
  const { publicKey, privateKey } = pair as CryptoKeyPair;
  const jwk = async (key: CryptoKey) => ({
    ...await crypto.subtle.exportKey("jwk", key),
    ...{ alg: "EdDSA" as const, kid: "one" },
  });
  const keys = JSON.stringify({ keys: [await jwk(publicKey)] });
  const server = createServer((_request, response) => response.end(keys));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const key = await jwk(privateKey);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`,
    sign: (claims: Record<string, unknown>) => sign(claims, key, "EdDSA"),
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

for (const kind of kinds) {
  const test = turns[kind]!;
  test(`${kind}: JWTs of an identity provider push, unless they are for somebody else`, async () => {
    await using provider = await startProvider();
    await using workspace = await Workspace.open();
    await workspace.serve(kind, ["--auth", provider.url, "--auth-audience", "logs"]);
    await writeFile(workspace.path("a.log"), LINES);
    const exp = Math.floor(Date.now() / 1000) + 60;
    const push = async (claims: Record<string, unknown>) => {
      const token = await provider.sign({ scope: "stream:upload", exp, ...claims });
      return await workspace.run(quickest, ["push", "a.log"], { env: { STREAM_TOKEN: token } });
    };
    const right = await push({ aud: "logs" });
    assertEquals([right.code, right.stderr], [0, ""]);
    assertEquals((await push({ aud: "mail" })).code, 5);
    assertEquals((await push({ aud: "logs", exp: exp - 120 })).code, 5);
    const unfit = await push({ aud: "logs", scope: "read" });
    assertStringIncludes(unfit.stderr, "lacks the scope upload (FORBIDDEN)");
  });
}

either("a token goes to --server only, and the user is told when it goes nowhere", async () => {
  await using workspace = await Workspace.open();
  const token = await made(workspace, ["--scope", "upload,read"]);
  await workspace.serve(quickest, ["--auth", "tokens"]);
  await writeFile(workspace.path("a.log"), LINES);
  const pushed = await workspace.run(quickest, ["push", "a.log"], { env: { STREAM_TOKEN: token } });
  const elsewhere = { STREAM_TOKEN: token, STREAM_SERVER: "http://logs.example.org" };
  const refused = await workspace.run(own, ["follow", pushed.stdout.trim()], { env: elsewhere });
  assertEquals(refused.code, 5);
  assertStringIncludes(refused.stderr, "the token is for http://logs.example.org and is not sent");
});

either("a host that others reach wants --auth or --insecure-public", async () => {
  await using workspace = await Workspace.open();
  const refused = await workspace.run(own, ["serve", "--host", "0.0.0.0", "--port", "0"]);
  assertEquals(refused.code, 2);
  for (const option of ["--auth", "--insecure-public"]) {
    assertStringIncludes(refused.stderr, option);
  }
  for (const host of ["localhost", "127.0.0.2"]) {
    await (await workspace.serve(own, ["--host", host])).kill("SIGTERM");
  }
  await workspace.serve(own, ["--host", "0.0.0.0", "--insecure-public"]);
});

for (const kind of kinds) {
  const test = turns[kind]!;
  test(`${kind}: with --auth what the server makes is its user's only, whatever the umask`, async () => {
    await using workspace = await Workspace.open();
    const token = await made(workspace, ["--scope", "upload,read"]);
    const before = process.umask(0);
    try {
      await workspace.serve(kind, ["--auth", "tokens"]);
    } finally {
      process.umask(before);
    }
    await writeFile(workspace.path("a.log"), LINES);
    const pushed = await workspace.run(quickest, ["push", "a.log"], {
      env: { STREAM_TOKEN: token },
    });
    assertEquals(pushed.code, 0, pushed.stderr);
    const data = workspace.path("data");
    const paths = await readdir(data, { recursive: true });
    for (const name of ["lock.sqlite", "catalog.sqlite", "catalog.sqlite-wal", "server.pid"]) {
      assert(paths.includes(name), name);
    }
    assert(paths.some((path) => path.endsWith(".bin")), String(paths));
    for (const path of ["", ...paths]) {
      const { mode } = await stat(`${data}/${path}`);
      assertEquals((mode & 0o077).toString(8), "0", path);
    }
  });
}

either(
  "a server without --auth answers the names that it was given, and an operator ends what hangs",
  async () => {
    await using workspace = await Workspace.open();
    await workspace.serve(own, ["--allow-host", "logs.lan", "--upload-silence", "1h"]);
    const ask = async (host: string) => {
      using request = new HttpRequest(`${workspace.server}/readyz`, "GET", {
        Host: host,
        "Content-Length": "0",
      });
      return (await request.answer()).status;
    };
    assertEquals([await ask("logs.lan"), await ask("evil.example")], [200, 421]);
    const { push, reference } = await workspace.push(quickest, ["-"]);
    push.write(LINES);
    const refused = await workspace.run(own, ["rm", reference]);
    assertEquals(refused.code, 1);
    assertStringIncludes(refused.stderr, "--force");
    assertEquals((await workspace.run(own, ["rm", "--force", reference])).code, 0);
    const ended = await push.exit();
    assert(ended.code !== 0);
    assertStringIncludes(ended.stderr, "(DELETED)");
  },
);

either(
  "a lock that others could read is taken away from them, and open data is warned of",
  async () => {
    await using workspace = await Workspace.open();
    await made(workspace, ["--scope", "read"]);
    const data = workspace.path("data");
    await mkdir(data, { mode: 0o755 });
    await chmod(data, 0o755);
    await writeFile(`${data}/lock.sqlite`, "", { mode: 0o644 });
    const server = await workspace.serve(own, ["--auth", "tokens"]);
    assertEquals((await stat(`${data}/lock.sqlite`)).mode & 0o777, 0o600);
    assertStringIncludes(server.stderr.text, `chmod 700 data`);
  },
);

either("what is wrong with tokens on the command line is named", async () => {
  await using workspace = await Workspace.open();
  const wrong: [args: string[], code: number, message: string][] = [
    [["token", "create", "--scope", "read"], 2, "--auth FILE"],
    [["token", "create", "--auth", "tokens"], 2, "--scope upload,read,admin"],
    [["token", "create", "--auth", "tokens", "--scope", "root"], 2, '"root"'],
    [["token", "create", "--auth", "tokens", "--scope", "read", "--name", "a b"], 2, "a name has"],
    [["token", "creat", "--auth", "tokens"], 2, "did you mean create?"],
    [["token", "revoke", "--auth", "tokens"], 2, "wants NAME"],
    [["token", "list", "--auth", "tokens"], 1, "there is no file of tokens"],
    [["serve", "--auth", "tokens"], 1, "there is no file of tokens"],
    [["serve", "--auth", "http://id.example.org/jwks.json"], 2, "https://"],
    [["serve", "--auth-audience", "logs"], 2, "--auth URL"],
    [["serve", "--auth-issuer", "me"], 2, "--auth URL"],
    [["serve", "--auth", "tokens", "--auth-issuer", "me"], 2, "--auth URL"],
    [["serve", "--step-contexts", "any"], 2, "neither known nor make"],
    [["ls", "--token-file", "nowhere"], 1, "nowhere"],
    [["share", "0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11", "--expires", "1ms"], 2, "--expires"],
    [["share", "0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11", "--expires", "8d"], 2, "--expires"],
  ];
  for (const [args, code, message] of wrong) {
    const exit = await workspace.run(quickest, args);
    assertEquals(exit.code, code, args.join(" "));
    assertStringIncludes(exit.stderr, message);
  }
});

for (const kind of kinds) {
  const test = turns[kind]!;
  test(`${kind}: a token file that is replaced while a push and a follow run is read again`, async () => {
    await using workspace = await Workspace.open();
    const scope = ["--scope", "upload,read"];
    const replace = async (name: string) =>
      await writeFile(
        workspace.path("token"),
        await made(workspace, [...scope, "--name", name]),
      );
    await replace("one");
    let server = await workspace.serve(kind, ["--auth", "tokens"]);
    const withToken = ["--token-file", "token"];
    const { push, reference } = await workspace.push(kind, ["-", ...withToken]);
    const follow = workspace.start(kind, ["follow", reference, ...withToken]);
    push.write("first\n");
    await follow.stdout.until((text) => text === "first\n");
    for (const [old, next] of [["one", "two"], ["two", "three"]]) {
      await server.kill("SIGTERM");
      await replace(next);
      const revoke = ["token", "revoke", old, "--auth", "tokens"];
      assertEquals((await workspace.run(quickest, revoke)).code, 0);
      const { port } = new URL(workspace.server);
      server = await workspace.serve(kind, ["--auth", "tokens", "--port", port]);
      push.write(`with ${next}\n`);
      await follow.stdout.until((text) => text.endsWith(`with ${next}\n`));
    }
    push.end();
    assertEquals((await push.exit()).code, 0);
    const { code, stdout } = await follow.exit();
    assertEquals([code, stdout], [0, "first\nwith two\nwith three\n"]);
  });
}

either("a token that would outlive every calendar is refused in words", async () => {
  await using workspace = await Workspace.open();
  const create = ["token", "create", "--auth", "tokens", "--scope", "read", "--expires"];
  const { code, stderr } = await workspace.run(quickest, [...create, "100000000d"]);
  assertEquals(code, 2);
  assertStringIncludes(stderr, "--expires: at most 36500d");
  assertEquals((await workspace.run(quickest, [...create, "36500d"])).code, 0);
});
