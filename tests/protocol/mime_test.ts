import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { guessMimeType, isText } from "../../src/mime.ts";

test("the MIME type is guessed from the extension, in any case and below any folder", () => {
  const types: Record<string, string> = {
    "build.log": "text/plain",
    "/var/log/BUILD.LOG": "text/plain",
    "C:\\logs\\out.txt": "text/plain",
    "report.xml": "application/xml",
    "results.jtl": "application/xml",
    "events.ndjson": "application/x-ndjson",
    "trace.har": "application/json",
    "archive.tar.gz": "application/gzip",
    "app.jar": "application/java-archive",
    "screen.png": "image/png",
    "run.webm": "video/webm",
  };
  for (const [name, type] of Object.entries(types)) assertEquals(guessMimeType(name), type, name);
});

test("rotated logs count as logs", () => {
  for (const name of ["app.log.1", "app.log.2026-11-23", "app.log.2026-11-23.4"]) {
    assertEquals(guessMimeType(name), "text/plain", name);
  }
  assertEquals(guessMimeType("app.log.1.gz"), "application/gzip");
});

test("a name that tells nothing is octet-stream", () => {
  for (const name of ["", "core", "data.xyz", ".log.d/data", "log", "constructor", "a.__proto__"]) {
    assertEquals(guessMimeType(name), "application/octet-stream", name);
  }
});

test("text is what is made of lines", () => {
  const text = [
    "text/plain",
    "text/csv; charset=UTF-8",
    "TEXT/HTML",
    "application/json",
    "application/problem+json",
    "image/svg+xml",
    "application/xml",
    "application/yaml",
    "application/x-ndjson",
    "application/javascript",
  ];
  for (const type of text) assertEquals(isText(type), true, type);
  const binary = ["application/octet-stream", "application/zip", "image/png", "video/mp4", ""];
  for (const type of binary) assertEquals(isText(type), false, type);
});
