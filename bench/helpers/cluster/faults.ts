/** What fails in a cluster, and how it is mended. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Chance } from "../../../tests/helpers/random.ts";
import {
  type ClusterNode,
  fillDisk,
  limitLink,
  type Place,
  setLink,
  wipeDisk,
  type World,
} from "./world.ts";

export const TARGETS = ["leader", "follower", "connected", "all three", "node", "node and leader"];
export const FAULTS = [
  ...["kill -9", "SIGTERM", "SIGSTOP", "stutter"],
  ...["links cut", "links cut one way", "links slow", "disk full", "disk wiped"],
];

/** One thing that happens to some. */
export interface Fault {
  target: string;
  fault: string;
}

/** All there are; what all three lose on their disks is lost, and nobody says otherwise. */
export const ALL: readonly Fault[] = FAULTS.flatMap((fault) =>
  TARGETS.map((target) => ({ target, fault }))
).filter(({ target, fault }) => target !== "all three" || fault !== "disk wiped");

/** How long somebody is away, in ms: as short as a supervisor takes, or longer than elections do. */
const AWAY_MS = { least: 500, most: 4000 };
const STOPPED_MS = 12_000;
/** Who stutters stands still for so long, and goes on for as long, in ms. */
const STUTTER_MS = 300;

/** Those that a fault is about, for one upload and the node that has it. */
export async function placesOf(
  world: World,
  target: string,
  id: string,
  node: ClusterNode,
): Promise<readonly Place[]> {
  const [leader, ...followers] = await world.byLead(id);
  switch (target) {
    case "leader":
      return [leader];
    case "follower":
      return [followers[0]];
    case "connected":
      return [await world.memberOf(node)];
    case "all three":
      return [leader, ...followers];
    case "node":
      return [node];
    default:
      return [node, leader];
  }
}

/** Lets it happen; mended on return, though some may still be on their way back. */
export async function suffer(
  { fault }: Fault,
  places: readonly Place[],
  chance: Chance,
): Promise<void> {
  const awayMs = chance.whole(AWAY_MS.least, AWAY_MS.most);
  const back = async (place: Place) => {
    await place.kill();
    await place.start();
  };
  await Promise.all(places.map(async (place) => {
    switch (fault) {
      case "kill -9":
        await place.kill();
        await sleep(awayMs);
        return await place.start();
      case "SIGTERM":
        place.signal("SIGTERM");
        await sleep(awayMs);
        return await back(place);
      case "SIGSTOP":
        place.signal("SIGSTOP");
        await sleep(STOPPED_MS);
        return place.signal("SIGCONT");
      case "stutter":
        for (let ms = 0; ms < STOPPED_MS; ms += 2 * STUTTER_MS) {
          place.signal("SIGSTOP");
          await sleep(STUTTER_MS);
          place.signal("SIGCONT");
          await sleep(STUTTER_MS);
        }
        return;
      case "links cut one way": {
        const mend = limitLink(place, chance.whole(0, 1) === 0 ? "to" : "from", "lost");
        await sleep(2 * awayMs);
        return mend();
      }
      case "links slow": {
        const mends = (["to", "from"] as const).map((way) => limitLink(place, way, "slow"));
        await sleep(STOPPED_MS);
        return mends.forEach((mend) => mend());
      }
      case "links cut":
        setLink(place, "down");
        await sleep(2 * awayMs);
        return setLink(place, "up");
      case "disk full": {
        const makeRoom = fillDisk(place);
        await sleep(awayMs);
        makeRoom();
        // As docs/cluster.md says.
        return await back(place);
      }
      default:
        await place.kill();
        wipeDisk(place);
        await sleep(awayMs);
        return await place.start();
    }
  }));
}
