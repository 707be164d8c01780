/**
 * The one page of the viewer, and what it may do: run its own script, and ask its own server.
 * @module
 */
import type { Context } from "hono";
import { html } from "hono/html";
import { assetNames } from "./assets.ts";

/**
 * Answers with the page.
 * @param c The request.
 * @param parts Where its parts are, from the address of the page.
 */
export function pageFor(c: Context, parts: string): Response | Promise<Response> {
  const { script, style, icon } = assetNames();
  const nonce = crypto.randomUUID();
  c.header("content-security-policy", policy(nonce));
  c.header("cache-control", "no-store");
  return c.html(html`
    <!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>stream</title>
        <link rel="icon" href="${parts}/${icon}">
        <link rel="stylesheet" nonce="${nonce}" href="${parts}/${style}">
        <script type="module" nonce="${nonce}" src="${parts}/${script}"></script>
      </head>
      <body>
        <div id="app"></div>
        <noscript>
          <p>This page needs JavaScript. The content itself is at /resources/ID/content.</p>
        </noscript>
      </body>
    </html>
  `);
}

/** What was uploaded comes from this server, too: only what carries the nonce of this answer runs. */
function policy(nonce: string): string {
  return [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    `style-src 'nonce-${nonce}'`,
    "img-src 'self' blob:",
    "media-src 'self' blob:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; ");
}
