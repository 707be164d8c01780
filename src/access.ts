/**
 * Who may do what: credentials become grants (PROTOCOL.md 8).
 * @module
 */

/** What a grant allows: to upload, to read, or to delete and to see the server's own figures. */
export type Scope = "upload" | "read" | "admin";

/** All scopes. None of them holds another. */
export const SCOPES: readonly Scope[] = ["upload", "read", "admin"];

/** What somebody may do. */
export interface Grant {
  /** Whose it is, for people and logs. */
  name: string;
  /** What it allows. */
  scopes: readonly Scope[];
  /** The one upload context it is for; null for all. */
  contextId: string | null;
  /** The one resource it is for; null for all. */
  resourceId: string | null;
  /** The one life of that resource it is for (PROTOCOL.md 1.4); missing for all. */
  life?: string;
  /** When it ends, in ms since 1970; null for never. */
  expiresAtMs: number | null;
}

/** Knows credentials of one kind. */
export interface Authenticator {
  /**
   * Checks a credential.
   * @param credential As it was presented; anything a stranger can send.
   * @returns What it grants now; null for one that is wrong, expired or revoked.
   * @throws {StreamError} UNREACHABLE when nobody can tell at the moment.
   */
  authenticate(credential: string): Promise<Grant | null>;
  /**
   * Hears once when a grant ends before its time; without this, grants are not revoked.
   * @param grant What `authenticate` gave.
   * @param revoked Called when it holds no more.
   * @returns Hears of it no more.
   */
  watch?(grant: Grant, revoked: () => void): () => void;
}

/** Signed links: each lets who has it read one resource for a while. */
export interface Links extends Authenticator {
  /**
   * Makes the credential of a link.
   * @param resourceId The resource.
   * @param expiresAtMs When it ends, in ms since 1970, cut to whole seconds.
   * @param life The life of the resource that it opens; every one by default.
   */
  create(resourceId: string, expiresAtMs: number, life?: string): Promise<string>;
}

/** The access control of a server. */
export interface Access {
  /** Knows bearer tokens. */
  tokens: Authenticator;
  /** Knows and makes signed links. */
  links: Links;
}
