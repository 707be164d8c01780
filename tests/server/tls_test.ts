/** TLS: every client against a server with a certificate of its own, and its renewal while sessions run. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { readFileSync } from "node:fs";
import { copyFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { connect as connectTls } from "node:tls";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { connectFrames, framesRuntime } from "../../mod.ts";
import { StreamError } from "../../src/protocol.ts";
import {
  eitherRuntime,
  type Kind,
  own,
  pairs,
  type Program,
  quickest,
  Workspace,
} from "../helpers/cli.ts";
import { Inbox } from "../helpers/frames/connection.ts";
import { startServer } from "../helpers/server.ts";
import { stepOnly } from "../helpers/step/server.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

const either = eitherRuntime();

const LINES = "first\nsecond\n";

/** Makes an authority `ca.crt` and certificates of it; `openssl` must be there. */
function makeCertificates(directory: string, ...names: string[]): void {
  const openssl = (...args: string[]) =>
    execFileSync("openssl", args, { cwd: directory, stdio: ["ignore", "ignore", "pipe"] });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl("req", "-x509", ...key, ...["-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca"]);
  for (const name of names) {
    openssl(
      ...["req", "-x509", ...key, "-keyout", `${name}.key`, "-out", `${name}.crt`],
      ...["-CA", "ca.crt", "-CAkey", "ca.key", "-subj", `/CN=${name}`],
      ...["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
      ...["-addext", "basicConstraints=critical,CA:FALSE"],
    );
  }
}

/** A server that has certificate `one`, in a workspace where `two` waits. */
async function secured(kind: Kind, ...options: string[]) {
  const workspace = await Workspace.open();
  makeCertificates(workspace.path("."), "one", "two");
  await copyFile(workspace.path("one.crt"), workspace.path("tls.crt"));
  await copyFile(workspace.path("one.key"), workspace.path("tls.key"));
  const tls = ["--tls-cert", "tls.crt", "--tls-key", "tls.key"];
  const server = await workspace.serve(kind, [...tls, ...options]);
  const ca = workspace.path("ca.crt");
  return { workspace, server, env: { DENO_CERT: ca, NODE_EXTRA_CA_CERTS: ca } };
}

/** Name of the certificate that a new connection sees. */
async function presented(address: string): Promise<string> {
  const { port } = new URL(address);
  const socket = connectTls({ port: Number(port), host: "127.0.0.1", rejectUnauthorized: false });
  await once(socket, "secureConnect");
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return String(CN);
}

for (const { server: kind, client } of pairs) {
  test(`${client} pushes to ${kind} over TLS and follows`, async () => {
    const { workspace, env } = await secured(kind);
    await using _workspace = workspace;
    assert(workspace.server.startsWith("https://127.0.0.1:"));
    const push = workspace.start(client, ["push", "-"], { env });
    push.write(LINES);
    const reference = (await push.stdout.until((text) => text.includes("\n"))).trim();
    assert(reference.startsWith(workspace.server.replace("https:", "wss:")));
    const follow = workspace.start(client, ["follow", reference], { env });
    await follow.stdout.until((text) => text === LINES);
    push.write("third\n");
    await follow.stdout.until((text) => text === `${LINES}third\n`);
    push.end();
    assertEquals((await push.exit()).code, 0);
    assertEquals((await follow.exit()).code, 0);
    const listed = await workspace.run(client, ["ls", "--json"], { env });
    assertEquals(JSON.parse(listed.stdout)[0].reference, reference);
  });

  test(`${client} does not talk to ${kind} when nobody vouches for its certificate, or for its name`, async () => {
    const { workspace } = await secured(kind, "--host", "127.0.0.2");
    await using _workspace = workspace;
    await writeFile(workspace.path("a.txt"), LINES);
    const args = ["push", "a.txt", "--retry-for", "0s"];
    const { code, stdout, stderr } = await workspace.run(client, args);
    assertEquals([code, stdout], [4, ""]);
    assertStringIncludes(stderr, "its certificate is of no authority that is trusted here");
    const misnamed = await workspace.run(client, [...args, "--ca", "ca.crt"]);
    assertEquals([misnamed.code, misnamed.stdout], [4, ""]);
    assertStringIncludes(misnamed.stderr, "its certificate is for another name (UNREACHABLE)");
  });

  test(`${client} trusts an authority that --ca or STREAM_CA names, and no other: server on ${kind}`, async () => {
    const { workspace } = await secured(kind);
    await using _workspace = workspace;
    await writeFile(workspace.path("a.txt"), LINES);
    makeCertificates(await workspace.directory("other"), "one");
    // Behind text and another authority, as the files of distributions are.
    const other = readFileSync(workspace.path("other/ca.crt"), "utf8");
    const ours = readFileSync(workspace.path("ca.crt"), "utf8");
    await writeFile(workspace.path("all.pem"), `# another\n${other}\n# ours\n${ours}`);
    for (const transport of ["ws", "http"]) {
      const options = ["--ca", "all.pem", "--transport", transport];
      const push = await workspace.run(client, ["push", "a.txt", ...options]);
      assertEquals([push.code, push.stderr], [0, ""]);
      const follow = await workspace.run(client, ["follow", push.stdout.trim(), ...options]);
      assertEquals(follow, { code: 0, stdout: LINES, stderr: "" });
    }
    const listed = await workspace.run(client, ["ls", "-q"], { env: { STREAM_CA: "ca.crt" } });
    assertEquals([listed.code, listed.stdout.trim().split("\n").length], [0, 2]);
    const untrusted = await workspace.run(client, ["ls", "--ca", "other/ca.crt"]);
    assertEquals([untrusted.code, untrusted.stdout], [4, ""]);
  });

  test(`SIGHUP gives ${kind} a new certificate while a push of ${client} runs`, async () => {
    const { workspace, server, env } = await secured(kind, "--step-port", "0");
    await using _workspace = workspace;
    const push = workspace.start(client, ["push", "-", "--retry-for", "0s"], { env });
    push.write(LINES);
    const reference = (await push.stdout.until((text) => text.includes("\n"))).trim();
    const follow = workspace.start(client, ["follow", reference, "--retry-for", "0s"], { env });
    await follow.stdout.until((text) => text === LINES);
    assertEquals(await presented(workspace.server), "one");

    await renew(workspace, server, "two", "two");
    await server.stderr.until((text) => text.includes("certificate renewed"));
    assertEquals(await presented(workspace.server), "two");
    assertEquals(await presented(await stepAddress(server)), "two");

    await renew(workspace, server, "one", "two");
    const log = await server.stderr.until((text) => text.includes("certificate refused"));
    assertStringIncludes(log, "does not belong to the key");
    assertEquals(await presented(workspace.server), "two");

    push.write("third\n");
    await follow.stdout.until((text) => text === `${LINES}third\n`);
    push.end();
    assertEquals([(await push.exit()).code, (await follow.exit()).code], [0, 0]);
    server.signal("SIGTERM");
    assertEquals((await server.exit()).code, 0);
  });
}

either("a file for --ca that holds no authority, or is none, is named", async () => {
  await using workspace = await Workspace.open();
  await writeFile(workspace.path("a.txt"), LINES);
  for (const [file, why] of [["a.txt", "holds no certificate"], ["none", "cannot be read"]]) {
    const { code, stderr } = await workspace.run(own, ["ls", "--ca", file]);
    assertEquals(code, 2);
    assertStringIncludes(stderr, `--ca ${file}`);
    assertStringIncludes(stderr, why);
  }
});

async function renew(workspace: Workspace, server: Program, cert: string, key: string) {
  await copyFile(workspace.path(`${cert}.crt`), workspace.path("tls.crt"));
  await copyFile(workspace.path(`${key}.key`), workspace.path("tls.key"));
  server.signal("SIGHUP");
}

async function stepAddress(server: Program): Promise<string> {
  const line = /listening for Step clients address="(https:[^"]+)"/;
  return line.exec(await server.stderr.until((text) => line.test(text)))![1];
}

either("--base-url is the base of references with a certificate, too", async () => {
  const { workspace, env } = await secured(quickest, "--base-url", "https://logs.example.org");
  await using _workspace = workspace;
  await writeFile(workspace.path("a.txt"), LINES);
  const { code, stdout } = await workspace.run(quickest, ["push", "a.txt"], { env });
  assertEquals([code, stdout.startsWith("wss://logs.example.org/")], [0, true], stdout);
});

test("a Step client at frame level connects over TLS, if it knows the authority", async () => {
  const { workspace, server, env } = await secured(own, "--step-port", "0");
  await using _workspace = workspace;
  await writeFile(workspace.path("a.txt"), LINES);
  const url = await stepAddress(server);
  const push = await workspace.run(own, ["push", "a.txt", "--server", url], { env });
  assertEquals(push.code, 0);
  // Here, nobody told this process of the authority.
  const path = `${url.replace("https:", "wss:")}/ws/streaming/upload`;
  const inbox = new Inbox("");
  const session = { text() {}, data() {}, closed: inbox.receiveClose.bind(inbox) };
  const error = await assertRejects(() => connectFrames(path, session), StreamError);
  assertEquals(error.code, "UNREACHABLE");
  assertMatch(error.message, /certificate|issuer/i);
});

test("connectFrames pushes to a Step server over wss:", async () => {
  const { workspace, env } = await secured(own);
  await using _workspace = workspace;
  const runner = new URL("../helpers/frames/push.ts", import.meta.url).pathname;
  const [command, ...words] = own === "deno"
    ? [process.env.STREAM_DENO ?? "deno", "run", "-A", runner]
    : [process.env.STREAM_BUN ?? "bun", runner];
  const output = execFileSync(command, [...words, workspace.server], {
    encoding: "utf8",
    env: { ...process.env, ...env },
  });
  assertEquals(output, "UploadAcknowledged 3\n");
});

test("a push to a Step server over TLS trusts an authority that --ca names", async () => {
  await using workspace = await Workspace.open();
  makeCertificates(workspace.path("."), "one");
  const tls = {
    cert: readFileSync(workspace.path("one.crt"), "utf8"),
    key: readFileSync(workspace.path("one.key"), "utf8"),
  };
  await using server = await startServer({ runtime: stepOnly(framesRuntime({ tls })) });
  const to = ["--server", server.url.replace("http:", "https:")];
  await writeFile(workspace.path("a.txt"), LINES);
  for (const client of new Set(pairs.map(({ client }) => client))) {
    const options = ["--transport", "ws", ...to, "--retry-for", "0s"];
    const trusting = await workspace.run(client, ["push", "a.txt", "--ca", "ca.crt", ...options]);
    assertEquals([client, trusting.code, trusting.stderr], [client, 0, ""]);
    assertEquals((await workspace.run(client, ["push", "a.txt", ...options])).code, 4);
  }
});

test("a certificate that cannot be used is named before anything is done", async () => {
  await using workspace = await Workspace.open();
  makeCertificates(workspace.path("."), "one", "two");
  const wrong: [string[], string][] = [
    [["--tls-cert", "one.crt"], "--tls-cert and --tls-key go together"],
    [["--tls-cert", "one.crt", "--tls-key", "two.key"], "does not belong to the key"],
    [["--tls-cert", "none.crt", "--tls-key", "one.key"], "none.crt"],
    [["--tls-cert", "one.key", "--tls-key", "one.key"], "cannot be read"],
  ];
  for (const [options, expected] of wrong) {
    const { code, stdout, stderr } = await workspace.run(own, ["serve", ...options]);
    assertEquals([code, stdout], [2, ""]);
    assertStringIncludes(stderr, expected);
  }
});

test("two renewals at once end with the last certificate, and plain text harms nobody", async () => {
  await using directory = await temporaryDirectory();
  makeCertificates(directory.path, "one", "two", "three");
  const read = (name: string) => ({
    cert: readFileSync(`${directory.path}/${name}.crt`, "utf8"),
    key: readFileSync(`${directory.path}/${name}.key`, "utf8"),
  });
  const runtime = framesRuntime({ tls: read("one") });
  const fetch = () => new Response("hello");
  const listener = await runtime.listen({ hostname: "127.0.0.1", port: 0, fetch });
  await Promise.all([runtime.reload(read("two")), runtime.reload(read("three"))]);
  const plain = connect(listener.port, "127.0.0.1");
  // What nobody reads would hold the end back.
  plain.on("error", () => {}).resume();
  plain.end("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await once(plain, "close");
  assertEquals(await presented(`https://127.0.0.1:${listener.port}`), "three");
  await listener.close();
});
