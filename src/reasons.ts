/**
 * What went wrong, in words that are the same on every runtime and hold no advice for programmers.
 * @module
 */

/** Reasons by what an error has as its code, or says in its text. */
const REASONS: readonly [code: RegExp, text: RegExp, reason: string][] = [
  [/^ENOENT$/, /^No such file/, "there is no such file or directory"],
  [/^(EACCES|EPERM)$/, /^Permission denied/, "permission is denied"],
  [/^EISDIR$/, /^Is a directory/, "it is a directory"],
  [/^EEXIST$/, /^File exists/, "there is a file already"],
  [/^ENOTDIR$/, /^Not a directory/, "a part of its path is no directory"],
  [/^ENOSPC$/, /^No space left/, "no space is left on the device"],
  [/^EDQUOT$/, /quota exceeded/i, "the disk quota is used up"],
  [/^EROFS$/, /^Read-only file system/, "the file system is read-only"],
  [/^(EMFILE|ENFILE)$/, /^Too many open files/, "too many files are open"],
  [/^EIO$/, /^Input\/output error/, "the device failed (input/output error)"],
  [/^EPIPE$/, /^Broken pipe/, "nobody reads it any more"],
  [/^ECONNREFUSED$/, /connection refused/i, "the connection was refused: nothing listens there"],
  [
    /^(ECONNRESET|UND_ERR_SOCKET)$/,
    /connection (was )?(reset|closed)|socket hang up/i,
    "the connection was closed before the answer",
  ],
  [/^(ENOTFOUND|EAI_AGAIN)$/, /dns error/i, "the name of the host is not known"],
  [/^(ETIMEDOUT|UND_ERR_CONNECT_TIMEOUT)$/, /timed? ?out|timeout/i, "no answer came in time"],
  [/^(EHOSTUNREACH|ENETUNREACH)$/, /(host|network).*unreachable/i, "no network leads there"],
  [
    /^UnsupportedProxyProtocol$/,
    /$^/,
    "this runtime speaks to none of its kind: give an http:// one",
  ],
  [/^ERR_TLS_CERT_ALTNAME_INVALID$/, /not valid for name/, "its certificate is for another name"],
  [/^CERT_HAS_EXPIRED$/, /certificate expired/, "its certificate has expired"],
  [/$^/, /invalid HTTP version/, "what answers there does not speak HTTP: try https://"],
  [/^EPROTO$/, /InvalidContentType/, "what answers there does not speak TLS"],
  [
    /^(UNABLE_TO_(VERIFY_LEAF_SIGNATURE|GET_ISSUER_CERT(_LOCALLY)?)|SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT)$/,
    /UnknownIssuer/,
    "its certificate is of no authority that is trusted here: see --ca FILE",
  ],
];

/**
 * Says why something failed.
 *
 * @param thrown What was thrown, by a runtime or by us.
 * @returns The reason, for people: without the name of a system call, a runtime's numbers or its advice.
 *
 * @example
 * ```ts
 * import { open } from "node:fs/promises";
 * import { reasonOf } from "./reasons.ts";
 *
 * await open("/no/such/file").catch((error) => console.log(reasonOf(error))); // there is no such file or directory
 * ```
 */
export function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  // Deno tells in the cause what happened to a request.
  const { message, code } = (thrown.cause instanceof Error ? thrown.cause : thrown) as Error & {
    code?: unknown;
  };
  const known = REASONS.find(([codes, texts]) =>
    typeof code === "string" ? codes.test(code) : texts.test(message)
  );
  return known?.[2] ?? plain(message);
}

/** The text without what only programmers want. */
function plain(message: string): string {
  return message
    .replace(/^(Fetch failed: |error sending request .*client error \(\w+\): )/, "")
    .replace(/^(\w+ )?E[A-Z0-9]+: /, "")
    .replace(/, (open|read|write|stat|fstat|mkdir|rename|unlink|scandir|lstat)\b.*$/, "")
    .replace(/ \(os error \d+\)/, "")
    .replace(/\.? For more information, pass .*$/, "");
}
