/** Credentials of a few clients, some of which end within milliseconds. */
import type { Access, Grant } from "../../../../src/access.ts";
import { SCOPES } from "../../../../src/access.ts";
import type { Chance } from "../../random.ts";

const CLIENTS = ["one", "two", "three"];
const LONGEST_MS = 10;

/** Knows `NAME` and `NAME.MS`, which ends at that time. */
const authenticator = {
  authenticate(credential: string): Promise<Grant | null> {
    const [name, ends] = credential.split(".");
    const expiresAtMs = ends === undefined ? null : Number(ends);
    if (expiresAtMs !== null && expiresAtMs <= Date.now()) return Promise.resolve(null);
    const all = { scopes: SCOPES, contextId: null, resourceId: null };
    return Promise.resolve({ name, ...all, expiresAtMs });
  },
};

/** The access control of all servers. */
export const ACCESS: Access = {
  tokens: authenticator,
  links: { ...authenticator, create: (_, expiresAtMs) => Promise.resolve(`link.${expiresAtMs}`) },
};

/** What somebody presents. */
export interface Credential {
  token: string;
  isBrief: boolean;
}

/** The credential of one of them. */
export function credential(chance: Chance): Credential {
  const name = chance.pick(CLIENTS);
  const isBrief = chance.happens(0.15);
  return { token: isBrief ? `${name}.${Date.now() + chance.whole(1, LONGEST_MS)}` : name, isBrief };
}
