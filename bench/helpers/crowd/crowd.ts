/** Followers in processes of their own: one process may not have so many sockets. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Seen } from "./member.ts";

const MEMBER = fileURLToPath(new URL("member.ts", import.meta.url));
const FOLLOWERS_PER_PROCESS = 2500;
const LEAST_PROCESSES = 2;

/** Many followers of one resource; the processes are gone after it was disposed of. */
export class Crowd implements Disposable {
  private constructor(
    private readonly members: ChildProcess[],
    private readonly lines: AsyncIterator<string>[],
  ) {}

  /** Starts them; each has received the first line of the resource on return. */
  static async gather(reference: string, followers: number): Promise<Crowd> {
    const processes = Math.max(LEAST_PROCESSES, Math.ceil(followers / FOLLOWERS_PER_PROCESS));
    const members = Array.from({ length: processes }, (_, index) => {
      const count = Math.floor((followers + index) / processes);
      return spawn(process.execPath, ["run", "-A", MEMBER, reference, String(count)], {
        stdio: ["ignore", "pipe", "inherit"],
      });
    });
    const lines = members.map(({ stdout }) => createInterface(stdout!)[Symbol.asyncIterator]());
    const crowd = new Crowd(members, lines);
    await crowd.#hear();
    return crowd;
  }

  /** What they have seen, when the resource has ended. */
  async seen(): Promise<Seen> {
    const parts: Seen[] = (await this.#hear()).map((line) => JSON.parse(line));
    await Promise.all(this.members.map((member) => member.exitCode ?? once(member, "exit")));
    return {
      delaysMs: parts.flatMap(({ delaysMs }) => delaysMs).sort((a, b) => a - b),
      wrong: parts.reduce((sum, { wrong }) => sum + wrong, 0),
    };
  }

  async #hear(): Promise<string[]> {
    const heard = await Promise.all(this.lines.map((lines) => lines.next()));
    if (heard.some(({ done }) => done)) throw new Error("a process of followers broke down");
    return heard.map(({ value }) => value);
  }

  [Symbol.dispose](): void {
    for (const member of this.members) member.kill("SIGKILL");
  }
}
