/**
 * The page of all resources: what runs and what ended, newest first.
 * @module
 */
import { useEffect, useRef, useState } from "preact/hooks";
import {
  listResources,
  resourceEvents,
  type ResourceInfo,
  retrying,
  type StreamError,
  type TransferStatus,
} from "../../client.ts";
import { toStreamError } from "../../protocol.ts";
import { type LostLink, lostLink } from "../model/link.ts";
import { plainly } from "../model/pieces.ts";
import type { OnRetry } from "../model/source.ts";
import { Throttle } from "../model/throttle.ts";
import { onVisibility, useRedraw } from "./hooks.ts";
import { Problem, State, ThemeTool, Time, Top, Waiting } from "./parts.tsx";
import { contextAddress, server, token, viewAddress } from "./place.ts";
import { bytesText } from "./row.ts";

const PAGE = 100;
/** A pause in typing, in ms. */
const TYPING_MS = 200;
/** After something happened the list is read anew, at most so often, in ms. */
const REFRESH_MS = 1000;

const STATES: [value: string, label: string, statuses: TransferStatus[]][] = [
  ["", "all", []],
  ["running", "running", ["INITIATED", "IN_PROGRESS"]],
  ["completed", "completed", ["COMPLETED"]],
  ["failed", "failed", ["FAILED"]],
];

/** Which resources are listed. */
interface Filter {
  state: string;
  name: string;
  context: string;
}

/** The list of resources. */
export function ListPage() {
  const redraw = useRedraw();
  const [filter, setFilter] = useState<Filter>(filterIn(location.search));
  const [resources, setResources] = useState<ResourceInfo[] | null>(null);
  const [more, setMore] = useState(false);
  const [problem, setProblem] = useState<StreamError | null>(null);
  const [lost, setLost] = useState<LostLink | null>(null);
  const count = useRef(PAGE);
  const running = useRef(new AbortController());

  const load = async () => {
    running.current.abort();
    const { signal } = running.current = new AbortController();
    try {
      const found = await retrying(() => read(filter, count.current + 1), {
        isThere: true,
        retryForMs: Infinity,
        onRetry: (error, delayMs) => setLost(lostLink(error, delayMs)),
        signal,
      });
      if (signal.aborted) return;
      setResources(found.slice(0, count.current));
      setMore(found.length > count.current);
      setLost(null);
      setProblem(null);
    } catch (error) {
      if (!signal.aborted) setProblem(toStreamError(error));
    }
  };
  const newest = useRef(load);
  newest.current = load;
  const wanted = useRef(filter);
  useEffect(() => {
    history.replaceState(history.state, "", addressFor(filter));
    if (filter === wanted.current) return;
    wanted.current = filter;
    count.current = PAGE;
    // What was found for another filter is not shown any more.
    running.current.abort();
    const timer = setTimeout(() => void newest.current(), TYPING_MS);
    return () => clearTimeout(timer);
  }, [filter]);
  useEffect(() => {
    document.title = "stream";
    const refresh = new Throttle(() => void newest.current(), REFRESH_MS);
    const start = () => listen(refresh.ask, (...why) => setLost(lostLink(...why)));
    let stop = start();
    const ends = onVisibility((visible) => {
      stop();
      running.current.abort();
      if (visible) stop = start();
    });
    return () => {
      stop();
      ends();
      running.current.abort();
    };
  }, []);

  const filtered = Object.values(filter).some((value) => value !== "");
  return (
    <>
      <Top>
        <h1>Resources</h1>
        <span class="spring" />
        <ThemeTool onChange={redraw} />
      </Top>
      <main class="list">
        <Filters filter={filter} change={setFilter} />
        {lost !== null && resources !== null && (
          <p class="ending failed" role="status">connection lost, again in a few seconds</p>
        )}
        {problem !== null
          ? <Problem error={problem} retry={() => location.reload()} />
          : resources === null && lost !== null
          ? <Waiting link={lost} />
          : <Resources resources={resources} filtered={filtered} />}
        {more && problem === null && (
          <button
            type="button"
            class="more"
            onClick={() => {
              count.current += 5 * PAGE;
              void load();
            }}
          >
            Show older ones
          </button>
        )}
      </main>
    </>
  );
}

function Filters({ filter, change }: { filter: Filter; change: (filter: Filter) => void }) {
  return (
    <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
      <label>
        <span>Name</span>
        <input
          type="search"
          value={filter.name}
          spellcheck={false}
          onInput={(event) => change({ ...filter, name: event.currentTarget.value })}
        />
      </label>
      <label>
        <span>Context</span>
        <input
          type="search"
          value={filter.context}
          spellcheck={false}
          onInput={(event) => change({ ...filter, context: event.currentTarget.value })}
        />
      </label>
      <label>
        <span>State</span>
        <select
          value={filter.state}
          onChange={(event) => change({ ...filter, state: event.currentTarget.value })}
        >
          {STATES.map(([value, label]) => <option key={value} value={value}>{label}</option>)}
        </select>
      </label>
    </form>
  );
}

function Resources(
  { resources, filtered }: { resources: ResourceInfo[] | null; filtered: boolean },
) {
  if (resources === null) return <p class="empty">Reading …</p>;
  if (resources.length === 0) {
    return filtered ? <p class="empty">No resource is like that.</p> : (
      <p class="empty">
        There is nothing here yet. <code>stream push FILE --server {server}</code> changes that.
      </p>
    );
  }
  return (
    <table class="resources">
      <thead>
        <tr>
          <th scope="col">State</th>
          <th scope="col">Name</th>
          <th scope="col" class="number">Lines</th>
          <th scope="col" class="number">Size</th>
          <th scope="col">Context</th>
          <th scope="col">Begun</th>
        </tr>
      </thead>
      <tbody>
        {resources.map((info) => (
          <tr key={info.id}>
            <td>
              <State status={info.transferStatus} />
            </td>
            <td class="name">
              <a href={viewAddress(info.id)}>{plainly(info.filename)}</a>
              {info.failure !== null && <span class="failure">{plainly(info.failure)}</span>}
            </td>
            <td class="number">{info.numberOfLines?.toLocaleString("en") ?? "–"}</td>
            <td class="number">{bytesText(info.currentSize)}</td>
            <td>
              {info.contextId !== null && (
                <a href={contextAddress(info.contextId)}>{plainly(info.contextId)}</a>
              )}
            </td>
            <td class="when">
              <Time at={info.createdAt} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Asks for a look whenever something has happened; at once, and after each connection that broke. Returns its end. */
function listen(look: () => void, onRetry: OnRetry): () => void {
  const stop = new AbortController();
  const { signal } = stop;
  const options = { signal, token: token(), onOpen: look, onRetry, retryForMs: Infinity };
  const run = async () => {
    for await (const _event of resourceEvents(server, options)) look();
  };
  // What cannot be listened to can still be read; the list says why if not.
  run().catch(look);
  return () => stop.abort();
}

async function read(filter: Filter, count: number): Promise<ResourceInfo[]> {
  const { context, name, state } = filter;
  const [, , transferStatuses] = STATES.find(([value]) => value === state) ?? STATES[0];
  const found: ResourceInfo[] = [];
  const options = {
    contextId: context === "" ? undefined : context,
    filenamePart: name === "" ? undefined : name,
    transferStatuses,
    pageSize: Math.min(1000, count),
    token: token(),
  };
  for await (const info of listResources(server, options)) {
    found.push(info);
    if (found.length >= count) break;
  }
  return found;
}

function filterIn(search: string): Filter {
  const query = new URLSearchParams(search);
  const of = (name: string) => query.get(name) ?? "";
  return { state: of("state"), name: of("name"), context: of("context") };
}

function addressFor(filter: Filter): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(filter)) if (value !== "") query.set(name, value);
  const text = query.toString();
  return text === "" ? location.pathname : `?${text}`;
}
