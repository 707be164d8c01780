/** The published conformance suite, for vitest: against the server at CONFORMANCE_URL. */
import process from "node:process";
import { runConformanceTests } from "@durable-streams/server-conformance-tests";

runConformanceTests({ baseUrl: process.env.CONFORMANCE_URL! });
