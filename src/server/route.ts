/**
 * A route as one value: routing, access, the OpenAPI document, `Allow` and what is kept out of logs follow from it.
 * @module
 */
import type { Context } from "hono";
import type { ErrorCode } from "../protocol.ts";
import type { AccessRule } from "./access.ts";
import type { Parameters, Values } from "./route/parameters.ts";
import { type Schema, TEXT } from "./route/schemas.ts";

/** Methods of routes; HEAD is answered by the route of GET. */
export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS";

/** One answer of a route. */
export interface Answer {
  /** Its meaning. */
  readonly description: string;
  /** Schemas of its body by media type; null where any bytes may come. */
  readonly body: Readonly<Record<string, Schema | null>>;
  /** Header fields that matter to a client. */
  readonly headers: readonly string[];
}

/** Everything of a route that does not depend on its parameters. */
interface RouteFacts {
  /** Its name for programs: the operationId of OpenAPI. */
  readonly name: string;
  /** Its method. */
  readonly method: Method;
  /** Its path below the base, with `:name` for each parameter in it. */
  readonly path: string;
  /** Another path that means the same. */
  readonly alias?: string;
  /** The section of PROTOCOL.md that tells more. */
  readonly section: string;
  /** Its effect, in a line. */
  readonly summary: string;
  /** The scope it wants, and what limited grants may reach by it. */
  readonly access: AccessRule;
  /** Media type of the content that it takes. */
  readonly takes?: string;
  /** Its answers by status, unless it fails. */
  readonly answers: Readonly<Record<number, Answer>>;
  /** Errors of its own, besides those that any request may meet. */
  readonly errors: readonly ErrorCode[];
}

/** A route. */
export interface Route extends RouteFacts {
  /** Its parameters. */
  readonly parameters: Parameters;
  /** Reads the parameters and answers. */
  handle(c: Context): Response | Promise<Response>;
}

/** A route whose handler is given the values of its parameters. */
export interface RouteDefinition<P extends Parameters> extends RouteFacts {
  /** Its parameters. */
  readonly parameters: P;
  /** Answers a request. */
  handle(c: Context, values: Values<P>): Response | Promise<Response>;
}

/**
 * Makes a route; its handler is called with parameters that fit their descriptions.
 * @param definition What the route is.
 * @returns The route.
 */
export function route<P extends Parameters>(definition: RouteDefinition<P>): Route {
  const parameters = Object.entries(definition.parameters);
  return {
    ...definition,
    handle(c) {
      const values: Record<string, unknown> = {};
      for (const [name, parameter] of parameters) values[name] = parameter.valueIn(c);
      return definition.handle(c, values as Values<P>);
    },
  };
}

/** An answer without a body. */
export function answer(description: string, ...headers: string[]): Answer {
  return { description, body: {}, headers };
}

/** An answer with a body. */
export function answerOf(
  description: string,
  body: Answer["body"],
  ...headers: string[]
): Answer {
  return { description, body, headers };
}

/** A body of JSON. */
export function jsonOf(schema: Schema): Answer["body"] {
  return { "application/json": schema };
}

/** A body of plain text. */
export const PLAIN_TEXT: Answer["body"] = { "text/plain": TEXT };

/** A path whose parameters have no names: equal for routes that differ in their methods only. */
export function shapeOf(path: string): string {
  return path.replace(/:\w+/g, ":");
}
