/**
 * What a file's name tells about its content.
 * @module
 */

/** Extensions by MIME type: what builds, tests and servers leave behind. */
const EXTENSIONS: Record<string, string> = {
  "text/plain": "txt text log out err trace stdout stderr conf cfg ini properties env diff patch",
  "text/csv": "csv",
  "text/tab-separated-values": "tsv",
  "text/html": "html htm",
  "text/css": "css",
  "text/markdown": "md markdown",
  "text/calendar": "ics",
  "text/javascript": "js mjs cjs",
  "application/typescript": "ts mts cts tsx",
  "application/json": "json map har ipynb",
  "application/x-ndjson": "ndjson jsonl",
  "application/geo+json": "geojson",
  "application/xml": "xml xsd xsl xslt jtl trx",
  "application/xhtml+xml": "xhtml",
  "application/yaml": "yaml yml",
  "application/toml": "toml",
  "application/sql": "sql",
  "application/x-sh": "sh bash",
  "application/zip": "zip",
  "application/java-archive": "jar war ear",
  "application/gzip": "gz tgz",
  "application/x-bzip2": "bz2",
  "application/x-xz": "xz",
  "application/zstd": "zst",
  "application/x-7z-compressed": "7z",
  "application/x-tar": "tar",
  "application/vnd.rar": "rar",
  "application/pdf": "pdf",
  "application/wasm": "wasm",
  "application/vnd.sqlite3": "sqlite sqlite3 db",
  "application/vnd.tcpdump.pcap": "pcap pcapng",
  "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
  "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
  "image/png": "png",
  "image/jpeg": "jpg jpeg",
  "image/gif": "gif",
  "image/webp": "webp",
  "image/avif": "avif",
  "image/bmp": "bmp",
  "image/svg+xml": "svg",
  "image/x-icon": "ico",
  "audio/mpeg": "mp3",
  "audio/ogg": "ogg oga opus",
  "audio/wav": "wav",
  "audio/flac": "flac",
  "audio/mp4": "m4a",
  "video/mp4": "mp4 m4v",
  "video/webm": "webm",
  "video/x-matroska": "mkv",
  "video/quicktime": "mov",
  "video/x-msvideo": "avi",
  "font/woff2": "woff2",
};

const TYPES = new Map(
  Object.entries(EXTENSIONS).flatMap(([type, extensions]) =>
    extensions.split(" ").map((extension) => [extension, type])
  ),
);

/**
 * Guesses a MIME type from a file's name; rotated logs (`app.log.1`, `app.log.2026-11-23`) count as logs.
 *
 * @param filename Name of the file, with or without folders.
 * @returns A MIME type without parameters; `application/octet-stream` for names that tell nothing.
 */
export function guessMimeType(filename: string): string {
  const name = filename.toLowerCase().replace(/(\.\d[\d_-]*)+$/, "");
  const extension = /\.([^./\\]+)$/.exec(name)?.[1] ?? "";
  return TYPES.get(extension) ?? "application/octet-stream";
}

const TEXT =
  /^(text\/.+|.+\+(json|xml|yaml)|application\/(x-)?(json|ndjson|jsonl|xml|yaml|toml|sql|sh|javascript|ecmascript|typescript))$/;

/**
 * Tells whether content of a MIME type is made of lines of text.
 *
 * @param mimeType A MIME type, in any case, with or without parameters.
 * @returns True for text.
 */
export function isText(mimeType: string): boolean {
  return TEXT.test(mimeType.split(";")[0].trim().toLowerCase());
}
