// Verifies sigstore bundles with sigstore's own verifier, which knows one key, under one hint.
//
//   node judge.mjs HINT KEY.der BUNDLE.json...
//
// Prints a line for each bundle: "accepted", or "refused: " and why.
import { readFileSync } from "node:fs";
import { bundleFromJSON } from "@sigstore/bundle";
import { toSignedEntity, toTrustMaterial, Verifier } from "@sigstore/verify";

const [hint, key, ...bundles] = process.argv.slice(2);
const nobody = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
const trusted = toTrustMaterial(nobody, { [hint]: { rawBytes: readFileSync(key) } });
const verifier = new Verifier(trusted, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 });

for (const path of bundles) {
  try {
    verifier.verify(toSignedEntity(bundleFromJSON(JSON.parse(readFileSync(path, "utf8")))));
    console.log("accepted");
  } catch (error) {
    console.log(`refused: ${error.message}`);
  }
}
