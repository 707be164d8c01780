/**
 * The parts of the viewer: named by what they hold, so that a browser keeps them for ever.
 * @module
 */
import type { Context } from "hono";
import { accepts } from "hono/accepts";
import { SCRIPT, STYLE } from "./bundle.ts";

const ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">' +
  '<rect width="16" height="16" rx="3" fill="#0a55c4"/>' +
  '<path d="M3 5h10M3 8h7M3 11h9" stroke="#fff" stroke-width="1.6"/></svg>\n';

/** One part. */
interface Asset {
  name: string;
  type: string;
  bytes: Uint8Array<ArrayBuffer>;
  /** The same in gzip; made once, when it is first asked for. */
  gzipped?: Promise<ArrayBuffer>;
}

/** Names of the parts that pages refer to. */
interface AssetNames {
  script: string;
  style: string;
  icon: string;
}

/** All parts. */
interface Assets {
  names: AssetNames;
  byName: ReadonlyMap<string, Asset>;
}

let made: Assets | undefined;

/**
 * Names of the parts.
 * @returns Made when they are first asked for: to name the parts would be a tenth of a start.
 */
export function assetNames(): AssetNames {
  return assets().names;
}

function assets(): Assets {
  return made ??= makeAssets();
}

function makeAssets(): Assets {
  const byName = new Map<string, Asset>();
  const add = (stem: string, ending: string, type: string, text: string) => {
    const name = `${stem}-${fingerprint(text)}.${ending}`;
    byName.set(name, { name, type, bytes: new TextEncoder().encode(text) });
    return name;
  };
  const names = {
    script: add("app", "js", "text/javascript; charset=utf-8", SCRIPT),
    style: add("style", "css", "text/css; charset=utf-8", STYLE),
    icon: add("icon", "svg", "image/svg+xml", ICON),
  };
  return { names, byName };
}

/** Tells versions apart, nothing more: FNV-1a of 32 bits, from two beginnings. */
function fingerprint(text: string): string {
  return [0x811c9dc5, 0x84222325].map((basis) => {
    let hash = basis;
    for (let at = 0; at < text.length; at++) {
      hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
    }
    return (hash >>> 0).toString(16).padStart(8, "0");
  }).join("");
}

/**
 * Answers with a part.
 * @param c The request.
 * @param name Its name.
 * @returns Null where there is none.
 */
export async function assetNamed(c: Context, name: string): Promise<Response | null> {
  const asset = assets().byName.get(name);
  if (asset === undefined) return null;
  c.header("cache-control", "public, max-age=31536000, immutable");
  c.header("content-type", asset.type);
  c.header("vary", "accept-encoding");
  const coding = accepts(c, {
    header: "Accept-Encoding",
    supports: ["gzip"],
    default: "identity",
  });
  if (coding !== "gzip") return c.body(asset.bytes);
  c.header("content-encoding", "gzip");
  return c.body(await (asset.gzipped ??= gzip(asset.bytes)));
}

async function gzip(bytes: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> {
  const zipped = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return await new Response(zipped).arrayBuffer();
}
