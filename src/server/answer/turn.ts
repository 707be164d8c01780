/**
 * Turns for answers that are made in slices: whatever many ask for at once, everybody else comes between.
 * @module
 */
import { turn } from "../../turn.ts";

/** The last turn that somebody waits for. */
let turns: Promise<void> = Promise.resolve();

/** Waits for a turn of the event loop that no other slice was given. */
export function ownTurn(): Promise<void> {
  turns = turns.then(turn);
  return turns;
}
