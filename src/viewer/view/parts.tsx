/**
 * Small parts of every page.
 * @module
 */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import {
  type ResourceInfo,
  shareResource,
  type StreamError,
  type TransferStatus,
} from "../../client.ts";
import { toStreamError } from "../../protocol.ts";
import { type LostLink, secondsLeft } from "../model/link.ts";
import { applyTheme, settings, useSeconds } from "./hooks.ts";
import { contentAddress, server, setToken, token } from "./place.ts";

/** How long a link to the content holds that a click makes, in s. */
const LINK_S = 300;

/** What people call the states of a transfer. */
export const STATES: Record<TransferStatus, string> = {
  INITIATED: "waiting",
  IN_PROGRESS: "running",
  COMPLETED: "completed",
  FAILED: "failed",
};

/** State of a transfer, in a word that needs no colour. */
export function State({ status }: { status: TransferStatus }) {
  return <span class={`state ${STATES[status]}`}>{STATES[status]}</span>;
}

/** A button that says what it does. */
export function Tool(
  { label, pressed, disabled, onClick, children, keys }: {
    label: string;
    pressed?: boolean;
    disabled?: boolean;
    onClick: () => void;
    children: ComponentChildren;
    keys?: string;
  },
) {
  return (
    <button
      type="button"
      class="tool"
      aria-label={label}
      aria-pressed={pressed}
      title={keys === undefined ? label : `${label} (${keys})`}
      disabled={disabled}
      onClick={onClick}
    >
      {children}
    </button>
  );
}

/** A number of things, as people say it. */
export function numbered(count: number, thing: string): string {
  return `${count.toLocaleString("en")} ${thing}${count === 1 ? "" : "s"}`;
}

/** Tools that stand in the bar; where that is too narrow, below a button. */
export function Options({ children }: { children: ComponentChildren }) {
  const [open, setOpen] = useState(false);
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open) return;
    const pressed = ({ target }: PointerEvent) => {
      if (!place.current!.contains(target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", pressed);
    return () => document.removeEventListener("pointerdown", pressed);
  }, [open]);
  const keyed = (event: KeyboardEvent) => {
    if (event.key !== "Escape" || !open) return;
    event.preventDefault();
    setOpen(false);
    place.current!.querySelector("button")!.focus();
  };
  return (
    <div class={open ? "options open" : "options"} ref={place} onKeyDown={keyed}>
      <button
        type="button"
        class="tool toggle"
        aria-label="More tools"
        aria-expanded={open}
        title="More tools"
        onClick={() => setOpen(!open)}
      >
        ⋯
      </button>
      <div class="tools">{children}</div>
    </div>
  );
}

const THEMES = ["system", "light", "dark"] as const;

/** Chooses the theme. */
export function ThemeTool({ onChange }: { onChange: () => void }) {
  const { theme } = settings.all;
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  const choose = () => {
    settings.set({ theme: next });
    applyTheme();
    onChange();
  };
  const signs = { system: "◐", light: "☀", dark: "☾" };
  return (
    <Tool label={`Theme: ${theme}`} onClick={choose}>
      {signs[theme]}
      <span class="word">Theme: {theme}</span>
    </Tool>
  );
}

/** The top of a page. */
export function Top({ children }: { children?: ComponentChildren }) {
  return (
    <header class="top">
      <a class="home" href={`${server}/`} title="All resources">stream</a>
      {children}
    </header>
  );
}

const REASONS: Partial<Record<string, string>> = {
  NOT_FOUND: "There is no such resource, or it was deleted.",
  DELETED: "This resource was deleted.",
  UNAUTHORIZED: "This server wants a token, or the one presented has expired.",
  FORBIDDEN: "The token presented does not allow this.",
};

/** Why nothing is shown, and what can be done. */
export function Problem({ error, retry }: { error: StreamError; retry: () => void }) {
  const asks = error.code === "UNAUTHORIZED" || error.code === "FORBIDDEN";
  return (
    <div class="problem" role="alert">
      <h2>{REASONS[error.code] ?? "This cannot be shown."}</h2>
      <p class="detail">{error.code}: {error.message}</p>
      {asks ? <TokenForm done={retry} /> : <button type="button" onClick={retry}>Try again</button>}
    </div>
  );
}

/** What is waited for while nothing can be shown yet; what changes every second is not read out. */
export function Waiting({ link }: { link: LostLink }) {
  useSeconds(true);
  return (
    <div class="problem">
      <div role="status">
        <h2>The server does not answer yet.</h2>
        <p class="detail">{link.reason}</p>
      </div>
      <p>It is asked again in {secondsLeft(link)} s.</p>
    </div>
  );
}

/** Takes a token, for this tab only. */
function TokenForm({ done }: { done: () => void }) {
  const input = useRef<HTMLInputElement>(null);
  const submit = (event: Event) => {
    event.preventDefault();
    setToken(input.current!.value.trim());
    done();
  };
  return (
    <form class="token" onSubmit={submit}>
      <label>
        Token <input ref={input} type="password" autocomplete="off" spellcheck={false} required />
      </label>
      <button type="submit">Use for this tab</button>
      {token() !== undefined && (
        <button
          type="button"
          onClick={() => {
            setToken("");
            done();
          }}
        >
          Forget
        </button>
      )}
    </form>
  );
}

/** Leads to the content. A token travels in a header, which no link sends: a link that ends soon is made for it. */
export function ContentLink(
  { id, name, download, children }: {
    id: string;
    name: string;
    download: boolean;
    children: ComponentChildren;
  },
) {
  const [refusal, setRefusal] = useState("");
  const follow = async (event: Event) => {
    const presented = token();
    if (presented === undefined) return;
    event.preventDefault();
    setRefusal("");
    try {
      const { url } = await shareResource(`${server}/resources/${id}`, {
        token: presented,
        expiresInS: LINK_S,
      });
      location.assign(download ? `${url}&download` : url);
    } catch (error) {
      setRefusal(toStreamError(error).message);
    }
  };
  const link = (
    <a
      class="tool"
      href={contentAddress(id, download)}
      download={download ? name : undefined}
      onClick={follow}
    >
      {children}
    </a>
  );
  return refusal === "" ? link : (
    <>
      {link} <span class="refusal" role="alert">{refusal}</span>
    </>
  );
}

const KEYS: [keys: string[], what: string][] = [
  [["j", "k", "↓", "↑"], "one line down, up"],
  [["Space", "Page Down"], "one page down; with Shift, Page Up: up"],
  [["g", "Home"], "first line"],
  [["G", "End"], "last line; follows what comes"],
  [["/", "Ctrl F"], "search; a second Ctrl F is the browser's"],
  [["n", "N"], "next, previous hit"],
  [["e", "E"], "next, previous error"],
  [["f"], "only hits, or everything"],
  [["w"], "wrap long lines"],
  [["r"], "raw: show everything as it is stored"],
  [["t"], "times of lines"],
  [[":"], "go to a line or a time"],
  [["[", "]"], "fold, open all groups"],
  [["Esc"], "end search, close"],
  [["?"], "this list"],
];

/** Lists the keys. */
export function Help({ close }: { close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current!.showModal(), []);
  return (
    <dialog ref={dialog} class="help" aria-labelledby="help-title" onClose={close}>
      <form method="dialog">
        <h2 id="help-title">Keys</h2>
        <button type="submit">Close</button>
      </form>
      <table>
        <tbody>
          {KEYS.map(([keys, what]) => (
            <tr key={what}>
              <th scope="row">{keys.map((key) => <kbd key={key}>{key}</kbd>)}</th>
              <td>{what}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </dialog>
  );
}

/** A time, told in the reader's way; its title has it in UTC. */
export function Time({ at }: { at: string }) {
  const date = new Date(at);
  return <time dateTime={at} title={`${at} (UTC)`}>{date.toLocaleString()}</time>;
}

/** What a resource is, in a few words. */
export function Facts({ info }: { info: ResourceInfo }) {
  const [open, setOpen] = useState(false);
  const { createdAt, updatedAt, mimeType, digest, id } = info;
  return (
    <div class="facts">
      <button type="button" class="tool" aria-expanded={open} onClick={() => setOpen(!open)}>
        Facts
      </button>
      {open && (
        <dl>
          <dt>Id</dt>
          <dd>{id}</dd>
          <dt>Type</dt>
          <dd>{mimeType}</dd>
          <dt>Begun</dt>
          <dd>
            <Time at={createdAt} />
          </dd>
          <dt>Last change</dt>
          <dd>
            <Time at={updatedAt} />
          </dd>
          {digest !== null && (
            <>
              <dt>{digest.algorithm}</dt>
              <dd class="mono">{digest.value}</dd>
            </>
          )}
        </dl>
      )}
    </div>
  );
}
