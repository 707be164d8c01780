/**
 * The program `stream`: `stream help` tells what it can do.
 * @module
 */
import process from "node:process";
import { main } from "./src/cli/main.ts";

if (import.meta.main) process.exit(await main(process.argv.slice(2)));

export { main };
