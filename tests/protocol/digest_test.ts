import { createHash } from "node:crypto";
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { xxhash128 } from "hash-wasm";
import { chooseDigest, createDigest } from "../../src/digest.ts";
import { type DigestAlgorithm, DIGESTS } from "../../src/protocol.ts";
import { arbitraryBytes, concat, utf8 } from "../helpers/bytes.ts";

/** Each algorithm by another implementation, at once over everything. */
const oneShot: Record<DigestAlgorithm, (bytes: Uint8Array) => string | Promise<string>> = {
  xxh128: (bytes) => xxhash128(bytes),
  sha256: (bytes) => createHash("sha256").update(bytes).digest("hex"),
  md5: (bytes) => createHash("md5").update(bytes).digest("hex"),
};

/** Published values for the empty text and for `abc`. */
const vectors: Record<DigestAlgorithm, [empty: string, abc: string]> = {
  xxh128: ["99aa06d3014798d86001c324468d497f", "06b05ab6733a618578af5f94892f3950"],
  sha256: [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  ],
  md5: ["d41d8cd98f00b204e9800998ecf8427e", "900150983cd24fb0d6963f7d28e17f72"],
};

/** Sizes around the blocks in which the algorithms work. */
const sizes = [1, 3, 4, 8, 9, 16, 17, 55, 56, 63, 64, 65, 128, 129, 240, 241, 256, 1024, 100_003];

for (const algorithm of DIGESTS) {
  test(`${algorithm} gives the published values`, async () => {
    const digest = await createDigest(algorithm);
    assertEquals(digest.algorithm, algorithm);
    const [empty, abc] = vectors[algorithm];
    assertEquals(digest.value(), empty);
    digest.update(utf8("abc"));
    assertEquals(digest.value(), abc);
  });

  test(`${algorithm} agrees with another implementation at every size`, async () => {
    for (const size of sizes) {
      const bytes = Uint8Array.from({ length: size }, (_, at) => at * 31);
      const digest = await createDigest(algorithm);
      digest.update(bytes);
      assertEquals(digest.value(), await oneShot[algorithm](bytes), `${size} bytes`);
    }
  });

  test(`${algorithm} is the same when saved, continued and asked at any points`, async () => {
    const step = fc.record({
      bytes: fc.oneof(arbitraryBytes(80), fc.uint8Array({ minLength: 200, maxLength: 1400 })),
      then: fc.constantFrom("go on", "continue from the saved state", "ask"),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12, size: "max" }), async (steps) => {
        let digest = await createDigest(algorithm);
        let taken: Uint8Array = new Uint8Array(0);
        for (const { bytes, then } of steps) {
          digest.update(bytes);
          taken = concat([taken, bytes]);
          if (then === "ask") assertEquals(digest.value(), await oneShot[algorithm](taken));
          else if (then !== "go on") digest = await createDigest(algorithm, digest.save());
        }
        assertEquals(digest.value(), await oneShot[algorithm](taken));
      }),
      { numRuns: 60 },
    );
  });

  test(`a saved ${algorithm} state stays as it was while its digest goes on`, async () => {
    const digest = await createDigest(algorithm);
    digest.update(utf8("a".repeat(300)));
    const state = digest.save();
    digest.update(utf8("b".repeat(5000)));
    digest.value();
    const continued = await createDigest(algorithm, state);
    continued.update(utf8("c"));
    assertEquals(continued.value(), await oneShot[algorithm](utf8("a".repeat(300) + "c")));
  });

  test(`two ${algorithm} digests at the same time do not mix`, async () => {
    const [first, second] = await Promise.all([createDigest(algorithm), createDigest(algorithm)]);
    for (let round = 0; round < 50; round++) {
      first.update(utf8(`first ${round}`));
      second.update(utf8(`second ${round}`));
    }
    const rounds = Array.from({ length: 50 }, (_, round) => round);
    for (const [digest, name] of [[first, "first"], [second, "second"]] as const) {
      const all = utf8(rounds.map((round) => `${name} ${round}`).join(""));
      assertEquals(digest.value(), await oneShot[algorithm](all));
    }
  });
}

test("the first known algorithm that a client offers is chosen, md5 if there is none", () => {
  assertEquals(chooseDigest(["sha256", "xxh128"]), "sha256");
  assertEquals(chooseDigest(["blake9", "xxh128", "md5"]), "xxh128");
  for (const unknown of [[], ["blake9"], ["XXH128"], ["toString", "__proto__"]]) {
    assertEquals(chooseDigest(unknown), "md5");
  }
});
