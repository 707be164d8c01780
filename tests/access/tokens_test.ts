/** What makes credentials and knows them: files of tokens, JWTs, signed links; and the limit of failures. */
import { existsSync, writeFileSync } from "node:fs";
import { chmod, chown, readFile, stat, utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { assert, assertEquals, assertNotEquals, assertStringIncludes } from "@std/assert";
import { sign } from "hono/jwt";
import { SignJWT } from "jose";
import { FileTokens, JwksTokens, linkKey, SignedLinks } from "../../mod.ts";
import { createToken, readTokens, revokeToken } from "../../src/access/token_file.ts";
import { FailureLimit, networkOf } from "../../src/server/access/failures.ts";
import { assertFails } from "../helpers/errors.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

test("a token is shown once, and its file holds the hash only and belongs to its owner", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "tokens");
  const token = await createToken(path, { name: "ci", scopes: ["upload"], contextId: "run-17" });
  assertEquals(/^[\w-]{43}$/.test(token), true);
  assert(!(await readFile(path, "utf8")).includes(token));
  assertEquals((await stat(path)).mode & 0o777, 0o600);
  const [record] = await readTokens(path);
  assertEquals([record.name, record.scopes, record.contextId], ["ci", ["upload"], "run-17"]);
  const tokens = await FileTokens.open({ path });
  const grant = { name: "ci", scopes: ["upload"], contextId: "run-17", resourceId: null };
  assertEquals(await tokens.authenticate(token), { ...grant, expiresAtMs: null } as never);
  for (const wrong of ["", token.slice(1), `${token} `, token.toUpperCase(), record.sha256]) {
    assertEquals(await tokens.authenticate(wrong), null, wrong);
  }
});

test("a file keeps its owner and mode when it is changed, and a first one is its directory's owner's", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "tokens");
  // Others than root can give nothing away: for them it is all theirs.
  const isRoot = process.getuid!() === 0;
  const service = isRoot ? { uid: 12_345, gid: 12_346 } : await stat(directory.path);
  await chown(directory.path, service.uid, service.gid);
  await createToken(path, { name: "first", scopes: ["read"] });
  const owned = async () => {
    const { uid, gid, mode } = await stat(path);
    return [uid, gid, mode & 0o777];
  };
  assertEquals(await owned(), [service.uid, service.gid, 0o600]);
  await chmod(path, 0o640);
  await createToken(path, { name: "second", scopes: ["read"] });
  await revokeToken(path, "first");
  assertEquals(await owned(), [service.uid, service.gid, 0o640]);
});

test("a token ends at its expiry", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "tokens");
  const expiresAt = "2030-01-01T00:00:00.000Z";
  const token = await createToken(path, { name: "a", scopes: ["read"], expiresAt });
  const clock = { ms: Date.parse(expiresAt) - 1 };
  const tokens = await FileTokens.open({ path, now: () => clock.ms });
  assertEquals((await tokens.authenticate(token))?.expiresAtMs, Date.parse(expiresAt));
  clock.ms++;
  assertEquals(await tokens.authenticate(token), null);
});

test("the file is read again when it changes, once a second: revoking needs no restart", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "tokens");
  const first = await createToken(path, { name: "first", scopes: ["read"] });
  const clock = { ms: 0 };
  const tokens = await FileTokens.open({ path, now: () => clock.ms });
  await revokeToken(path, "first");
  const second = await createToken(path, { name: "second", scopes: ["read"] });
  clock.ms = 999;
  assertNotEquals(await tokens.authenticate(first), null);
  clock.ms = 1000;
  const both = [tokens.authenticate(first), tokens.authenticate(second)];
  assertEquals((await Promise.all(both)).map((grant) => grant?.name), [undefined, "second"]);
});

test("a file that became unreadable grants nothing and calls no token wrong, says so once, and never shows a line", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "tokens");
  const token = await createToken(path, { name: "a", scopes: ["read"] });
  const right = await readFile(path, "utf8");
  const clock = { ms: 0 };
  const warnings: string[] = [];
  const warn = (message: string) => warnings.push(message);
  const tokens = await FileTokens.open({ path, warn, now: () => clock.ms });
  await writeFile(path, `${right}hush hush\n`);
  for (clock.ms = 1000; clock.ms <= 3000; clock.ms += 1000) {
    const error = await assertFails("UNREACHABLE", () => tokens.authenticate(token));
    assert(!error.message.includes("hush") && !error.message.includes(path));
  }
  assertEquals(warnings, [`no token is accepted: ${path}, line 2: it is no JSON`]);
  await writeFile(path, right);
  await utimes(path, 1, 1);
  assertNotEquals(await tokens.authenticate(token), null);
});

test("what is wrong with a file of tokens is named with its line", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "tokens");
  const missing = await assertFails("NOT_FOUND", () => FileTokens.open({ path }));
  assertStringIncludes(missing.message, "stream token create");
  const record = {
    name: "a",
    scopes: ["read"],
    createdAt: "2030-01-01T00:00:00Z",
    sha256: "0".repeat(64),
  };
  const wrong = [
    ...[null, 7, {}, { ...record, name: "a b" }, { ...record, scopes: [] }],
    ...[{ ...record, scopes: ["root"] }, { ...record, sha256: "00" }],
    ...[{ ...record, expiresAt: "tomorrow" }, { ...record, contextId: "" }],
    ...[{ ...record, resourceId: "../x" }, { ...record, expiresAt: 7 }],
  ];
  for (const value of wrong) {
    await writeFile(path, `${JSON.stringify(record)}\n\n${JSON.stringify(value)}\n`);
    const error = await assertFails("BAD_METADATA", () => FileTokens.open({ path }));
    assertStringIncludes(error.message, "line 3", JSON.stringify(value));
  }
});

test("names are unique, unknown ones cannot be revoked, and two writers exclude each other", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "tokens");
  await createToken(path, { name: "a", scopes: ["read"] });
  await assertFails("CONFLICT", () => createToken(path, { name: "a", scopes: ["admin"] }));
  await assertFails("NOT_FOUND", () => revokeToken(path, "b"));
  await writeFile(`${path}.new`, "");
  const error = await assertFails("CONFLICT", () => revokeToken(path, "a"));
  assertStringIncludes(error.message, `${path}.new`);
  assertEquals((await readTokens(path)).length, 1);
});

test("who has changed a file leaves alone what the next writer begins in that moment", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "tokens");
  const building = `${path}.new`;
  let isOver = false;
  const beginNext = async () => {
    for (let isSeen = false; !isOver;) {
      for (let looks = 0; looks < 200; looks++) {
        if (existsSync(building)) isSeen = true;
        else if (isSeen) return writeFileSync(building, "next");
      }
      await turn();
    }
  };
  // A look has to come between the end of one change and what follows it: most do.
  for (let round = 0;; round++) {
    assert(round < 500, "nobody began in that moment");
    isOver = false;
    const making = createToken(path, { name: `${round}`, scopes: ["read"] });
    const begun = beginNext().then(() => !isOver);
    await making;
    isOver = true;
    if (await begun) break;
  }
  assertEquals(await readFile(building, "utf8"), "next");
});

test("a file that cannot be made is told with its path, in the same words on every runtime", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "none", "tokens");
  const error = await assertFails(
    "STORAGE_FAILED",
    () => createToken(path, { name: "a", scopes: ["read"] }),
  );
  assertEquals(error.message, `cannot make ${path}.new: there is no such file or directory`);
});

test("a file that others can get at is warned of", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "tokens");
  await createToken(path, { name: "a", scopes: ["read"] });
  const warnings: string[] = [];
  const warn = (message: string) => warnings.push(message);
  await FileTokens.open({ path, warn });
  assertEquals(warnings, []);
  await chmod(path, 0o640);
  await FileTokens.open({ path, warn });
  assertEquals(warnings, [`others can get at ${path}: chmod 600 it`]);
});

test("a link grants reading one resource until it ends, and nothing once it was changed", async () => {
  const clock = { ms: 1_000_000 };
  const links = new SignedLinks({ now: () => clock.ms });
  const id = crypto.randomUUID();
  const link = await links.create(id, clock.ms + 60_000);
  const grant = { name: `link to ${id}`, scopes: ["read"], contextId: null, resourceId: id };
  assertEquals(await links.authenticate(link), { ...grant, expiresAtMs: 1_060_000 } as never);
  const [, expiry, mac] = link.split(".");
  const forged = [
    ...[`${crypto.randomUUID()}.${expiry}.${mac}`, `${id}.${Number(expiry) + 1}.${mac}`],
    ...[`${id}.0${expiry}.${mac}`, `${id}.${expiry}.${"A".repeat(43)}`, `${id}.${expiry}.`],
    ...["", "..", link.slice(0, -1), `${link}=`, `${link}A`, ` ${link}`, link.toUpperCase()],
  ];
  for (const text of forged) assertEquals(await links.authenticate(text), null, text);
  assertEquals(await new SignedLinks().authenticate(link), null);
  clock.ms = 1_059_999;
  assertNotEquals(await links.authenticate(link), null);
  clock.ms = 1_060_000;
  assertEquals(await links.authenticate(link), null);
});

test("the key of links is made once, for its owner only", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "secret.key");
  const [one, two] = await Promise.all([linkKey(path), linkKey(path)]);
  assertEquals(one, two);
  assertEquals(one.length, 32);
  assertEquals(await linkKey(path), one);
  assertEquals((await stat(path)).mode & 0o777, 0o600);
  await writeFile(path, "short");
  const error = await assertFails("STORAGE_FAILED", () => linkKey(path));
  assertStringIncludes(error.message, path);
});

const ALGORITHMS = {
  RS256: {
    name: "RSASSA-PKCS1-v1_5",
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: "SHA-256",
  },
  ES256: { name: "ECDSA", namedCurve: "P-256" },
  EdDSA: { name: "Ed25519" },
};
type Algorithm = keyof typeof ALGORITHMS;

interface Signer {
  /** Public part. */
  jwk: JsonWebKey & { kid: string };
  /** Private part, as Hono's `sign` wants it. */
  key: JsonWebKey & { kid: string; alg: Algorithm };
}

async function makeSigner(alg: Algorithm, kid: string): Promise<Signer> {
  const pair = await crypto.subtle.generateKey(ALGORITHMS[alg], true, ["sign", "verify"]);
  const { publicKey, privateKey } = pair as CryptoKeyPair;
  const jwk = async (key: CryptoKey) => ({
    ...await crypto.subtle.exportKey("jwk", key),
    alg,
    kid,
  });
  return { jwk: await jwk(publicKey), key: await jwk(privateKey) };
}

/** An identity provider whose answer can be changed. */
async function startProvider() {
  const provider = { requests: 0, status: 200, body: "" };
  const server = createServer((_request, response) => {
    provider.requests++;
    response.writeHead(provider.status, { location: "/elsewhere" }).end(provider.body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const close = () =>
    new Promise<void>((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    });
  return Object.assign(provider, {
    url: `http://127.0.0.1:${port}/jwks.json`,
    [Symbol.asyncDispose]: close,
  });
}

const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;
const claims = () => ({ sub: "ann", scope: "stream:upload openid read", exp: inSeconds(60) });

test("JWTs of each algorithm grant what their claims say", async () => {
  await using provider = await startProvider();
  const signers = await Promise.all(
    (Object.keys(ALGORITHMS) as Algorithm[]).map((alg) => makeSigner(alg, `key of ${alg}`)),
  );
  provider.body = JSON.stringify({ keys: signers.map(({ jwk }) => jwk) });
  const tokens = new JwksTokens({ url: provider.url });
  const id = crypto.randomUUID();
  for (const { key } of signers) {
    const payload = { ...claims(), stream_context: "run-17", stream_resource: id };
    const grant = await tokens.authenticate(await sign(payload, key, key.alg));
    assertEquals(grant, {
      name: "ann",
      scopes: ["upload", "read"],
      contextId: "run-17",
      resourceId: id,
      expiresAtMs: payload.exp * 1000,
    }, key.alg);
  }
  assertEquals(provider.requests, 1);
});

test("a JWT that is expired, not yet valid, for somebody else or forged grants nothing", async () => {
  await using provider = await startProvider();
  const signer = await makeSigner("ES256", "a");
  const stranger = await makeSigner("ES256", "a");
  provider.body = JSON.stringify({ keys: [signer.jwk] });
  const tokens = new JwksTokens({ url: provider.url });
  const named = new JwksTokens({ url: provider.url, audience: "logs" });
  const signed = (payload: Record<string, unknown>, { key } = signer) =>
    sign(payload, key, key.alg);
  const { exp: _, ...endless } = claims();
  const wrong = {
    expired: await signed({ ...claims(), exp: inSeconds(-1) }),
    endless: await signed(endless),
    "not yet valid": await signed({ ...claims(), nbf: inSeconds(90) }),
    "for another audience": await signed({ ...claims(), aud: "mail" }),
    "with a context that is no text": await signed({ ...claims(), stream_context: 7 }),
    "with an empty context": await signed({ ...claims(), stream_context: "" }),
    "with a context of control characters": await signed({ ...claims(), stream_context: "a\n" }),
    "with a resource that is no id": await signed({ ...claims(), stream_resource: "../x" }),
    "by another key": await signed(claims(), stranger),
    "by a shared secret": await sign(claims(), JSON.stringify(signer.jwk), "HS256"),
    unsigned: `${btoa('{"alg":"none","kid":"a"}')}.${btoa(JSON.stringify(claims()))}.`,
    "no JWT": "a.b.c",
    empty: "",
    long: "a".repeat(10_000),
  };
  for (const [what, token] of Object.entries(wrong)) {
    assertEquals(await tokens.authenticate(token), null, what);
  }
  const [right, other] = [
    await signed({ ...claims(), aud: ["x", "logs"] }),
    await signed(claims()),
  ];
  assertNotEquals(await named.authenticate(right), null);
  assertEquals(await named.authenticate(other), null);
  assertNotEquals(await tokens.authenticate(other), null);
});

test("a JWT of another issuer grants nothing where one is wanted, and any that the key signed otherwise", async () => {
  await using provider = await startProvider();
  const { jwk, key } = await makeSigner("ES256", "a");
  provider.body = JSON.stringify({ keys: [jwk] });
  const iss = "https://id.example.org";
  const wanting = new JwksTokens({ url: provider.url, issuer: iss });
  const any = new JwksTokens({ url: provider.url });
  for (const [claim, isRight] of [[iss, true], [`${iss}/`, false], [undefined, false]] as const) {
    const token = await sign({ ...claims(), iss: claim }, key, "ES256");
    assertEquals(await wanting.authenticate(token) !== null, isRight, claim);
    assertNotEquals(await any.authenticate(token), null, claim);
  }
});

test("an access token of RFC 9068 is one, and what was signed to be something else is not", async () => {
  await using provider = await startProvider();
  const { jwk, key } = await makeSigner("ES256", "a");
  provider.body = JSON.stringify({ keys: [jwk] });
  const tokens = new JwksTokens({ url: provider.url });
  const { alg: _, ...importable } = key;
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  const privateKey = await crypto.subtle.importKey("jwk", importable, algorithm, false, ["sign"]);
  const signed = (typ: unknown) =>
    new SignJWT(claims()).setProtectedHeader({ alg: "ES256", kid: "a", typ: typ as string })
      .sign(privateKey);
  for (const typ of ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", undefined]) {
    assertEquals((await tokens.authenticate(await signed(typ)))?.name, "ann", String(typ));
  }
  for (const typ of ["logout+jwt", "dpop+jwt", "secevent+jwt", "", 7, null, ["at+jwt"]]) {
    assertEquals(await tokens.authenticate(await signed(typ)), null, String(typ));
  }
});

test("a JWT counts up to a minute before it is valid, as clocks differ, and never after its end", async () => {
  await using provider = await startProvider();
  const { jwk, key } = await makeSigner("ES256", "a");
  provider.body = JSON.stringify({ keys: [jwk] });
  const tokens = new JwksTokens({ url: provider.url });
  for (
    const [claim, isRight] of [
      [{ nbf: inSeconds(30) }, true],
      [{ nbf: inSeconds(90) }, false],
      [{ iat: inSeconds(90) }, true],
      [{ exp: inSeconds(-1) }, false],
    ] as const
  ) {
    const token = await sign({ ...claims(), ...claim }, key, "ES256");
    assertEquals(await tokens.authenticate(token) !== null, isRight, JSON.stringify(claim));
  }
});

test("a key that the provider has just begun to sign with is fetched at once, and a flood of unknown ones asks seldom", async () => {
  await using provider = await startProvider();
  const signers = await Promise.all(["a", "b", "c"].map((kid) => makeSigner("EdDSA", kid)));
  const jwks = signers.map(({ jwk }) => jwk);
  const clock = { ms: 0 };
  const tokens = new JwksTokens({ url: provider.url, now: () => clock.ms });
  const isKnown = async (signer: Signer) =>
    await tokens.authenticate(await sign(claims(), signer.key)) !== null;
  for (const known of [1, 2, 3]) {
    provider.body = JSON.stringify({ keys: jwks.slice(0, known) });
    assertEquals([await isKnown(signers[known - 1]!), provider.requests], [true, known]);
  }
  const stranger = await makeSigner("EdDSA", "stranger");
  for (let i = 0; i < 20; i++) assertEquals(await isKnown(stranger), false);
  assertEquals(provider.requests, 6);
  clock.ms = 9999;
  assertEquals([await isKnown(stranger), provider.requests], [false, 6]);
  clock.ms = 10_000;
  assertEquals([await isKnown(stranger), provider.requests], [false, 7]);
});

test("keys are fetched again after five minutes", async () => {
  await using provider = await startProvider();
  const [first, second] = [await makeSigner("EdDSA", "first"), await makeSigner("EdDSA", "second")];
  provider.body = JSON.stringify({ keys: [first.jwk] });
  const clock = { ms: 0 };
  const tokens = new JwksTokens({ url: provider.url, now: () => clock.ms });
  const token = await sign(claims(), first.key);
  const isKnown = async () => await tokens.authenticate(token) !== null;
  assertEquals([await isKnown(), provider.requests], [true, 1]);
  provider.body = JSON.stringify({ keys: [second.jwk] });
  clock.ms = 299_999;
  assertEquals([await isKnown(), provider.requests], [true, 1]);
  clock.ms = 300_000;
  assertEquals([await isKnown(), provider.requests], [false, 2]);
});

test("a token of a key that is unknown is not called wrong while the provider cannot be asked", async () => {
  await using provider = await startProvider();
  const [first, second] = [await makeSigner("EdDSA", "first"), await makeSigner("EdDSA", "second")];
  provider.body = JSON.stringify({ keys: [first.jwk] });
  const tokens = new JwksTokens({ url: provider.url });
  const [one, two] = [await sign(claims(), first.key), await sign(claims(), second.key)];
  assertNotEquals(await tokens.authenticate(one), null);
  provider.status = 500;
  await assertFails("UNREACHABLE", () => tokens.authenticate(two));
  assertNotEquals(await tokens.authenticate(one), null);
  Object.assign(provider, { status: 200, body: JSON.stringify({ keys: [second.jwk] }) });
  assertNotEquals(await tokens.authenticate(two), null);
});

test("a provider that does not answer as it should is not taken for a wrong token", async () => {
  await using provider = await startProvider();
  const signer = await makeSigner("ES256", "a");
  const token = await sign(claims(), signer.key);
  const right = JSON.stringify({ keys: [signer.jwk] });
  const answers: [number, string][] = [
    ...[[500, right], [302, right], [200, "<html>"], [200, "{}"], [200, "null"]] as const,
    [200, JSON.stringify({ keys: Array(101).fill(signer.jwk) })],
    [200, right + " ".repeat(300_000)],
  ] as [number, string][];
  for (const [status, body] of answers) {
    Object.assign(provider, { status, body });
    const warnings: string[] = [];
    const warn = (message: string) => warnings.push(message);
    const tokens = new JwksTokens({ url: provider.url, warn });
    const told = await assertFails("UNREACHABLE", () => tokens.authenticate(token));
    // A stranger hears neither where the keys are nor why there are none; whoever runs the server does.
    assert(!told.message.includes(provider.url), told.message);
    assertEquals(warnings.map((message) => message.includes(provider.url)), [true]);
  }
  for (const url of ["http://id.example.org/jwks.json", "ftp://localhost/", "jwks.json"]) {
    await assertFails("BAD_REQUEST", async () => await new JwksTokens({ url }).authenticate(token));
  }
});

test("an address has ten failures at once, and one more every six seconds", () => {
  const clock = { ms: 0 };
  const failures = new FailureLimit(() => clock.ms);
  const times = (n: number) => Array.from({ length: n }, () => failures.count("192.0.2.1"));
  assertEquals(times(12), [...Array(10).fill(0), 6, 6]);
  assertEquals(failures.count("192.0.2.2"), 0);
  clock.ms = 5000;
  assertEquals(times(1), [1]);
  clock.ms = 6000;
  assertEquals(times(2), [0, 6]);
  clock.ms = 66_000;
  assertEquals(times(11), [...Array(10).fill(0), 6]);
});

test("10 000 addresses are remembered; the oldest are forgotten first", () => {
  const failures = new FailureLimit(() => 0);
  const exhaust = (address: string) => {
    for (let at = 0; at < 10; at++) failures.count(address);
  };
  exhaust("old");
  exhaust("new");
  for (let at = 0; at < 9999; at++) failures.count(`192.0.2.${at}`);
  assertEquals(failures.size, 10_000);
  assertEquals([failures.count("new"), failures.count("old")], [6, 0]);
});

test("the addresses of one IPv6 network are one", () => {
  const networks = {
    "192.0.2.1": "192.0.2.1",
    "::ffff:192.0.2.1": "192.0.2.1",
    "2001:db8:1:2:3:4:5:6": "2001:db8:1:2",
    "2001:0db8:1:2::7": "2001:db8:1:2",
    "2001:db8::7": "2001:db8:0:0",
    "fe80::1%eth0": "fe80:0:0:0",
    "::1": "0:0:0:0",
    "": "",
  };
  for (const [address, network] of Object.entries(networks)) {
    assertEquals(networkOf(address), network, address);
  }
});
