#!/usr/bin/env bash
# hash-wasm: the saved state of a digest, meant to be continued later, ends with an update of the package.
#
# A state is bound to the compiled code of its algorithm, which most minor versions build anew. `^4.12.0` therefore
# breaks whatever was saved for after a restart: the digest of a half-done upload cannot be continued, although the
# algorithm, its name and the interface are the same. The README asks for versions whose hash function is the same, and
# nothing says which those are.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent v10@npm:hash-wasm@4.10.0 v11@npm:hash-wasm@4.11.0 v12@npm:hash-wasm@4.12.0 v13@npm:hash-wasm@4.13.0

cat >probe.cjs <<'PROBE'
const versions = ["v10", "v11", "v12", "v13"];
const make = { xxh128: "createXXHash128", sha256: "createSHA256" };
(async () => {
  for (const [name, create] of Object.entries(make)) {
    for (let at = 1; at < versions.length; at++) {
      const [before, after] = [require(versions[at - 1]), require(versions[at])];
      const whole = (await before[create]()).init().update("one two").digest();
      const state = (await before[create]()).init().update("one ").save();
      let seen;
      try {
        const digest = (await after[create]()).load(state).update("two").digest();
        seen = digest === whole ? "continued" : "another digest";
      } catch {
        seen = "refused";
      }
      console.log(`${name} 4.${versions[at - 1].slice(1)} to 4.${versions[at].slice(1)}: ${seen}`);
    }
  }
})();
PROBE
seen=$(node probe.cjs)
echo "hash-wasm 4.10.0, 4.11.0, 4.12.0, 4.13.0"
echo "guess: a state that one version saved is continued by the next minor version"
echo "seen:"
echo "$seen"
[ "$seen" = "xxh128 4.10 to 4.11: continued
xxh128 4.11 to 4.12: refused
xxh128 4.12 to 4.13: refused
sha256 4.10 to 4.11: continued
sha256 4.11 to 4.12: refused
sha256 4.12 to 4.13: refused" ] || {
  echo "this has changed"
  exit 1
}
