/**
 * The viewer: which page an address means.
 * @module
 */
import { render } from "preact";
import { applyTheme, onSystemTheme } from "./view/hooks.ts";
import { ContextPage } from "./view/context_page.tsx";
import { ListPage } from "./view/list_page.tsx";
import { LogPage } from "./view/log_page.tsx";
import { server } from "./view/place.ts";

function Page() {
  const path = location.href.slice(server.length).replace(/[?#].*$/s, "");
  const query = new URLSearchParams(location.search);
  const [, id] = /^\/view\/([^/]+)\/?$/.exec(path) ?? [];
  const context = query.get("context");
  if (id !== undefined) {
    const line = Number(query.get("line"));
    return <LogPage id={id} line={line >= 1 ? line - 1 : null} />;
  }
  return context !== null && /^\/view\/?$/.test(path)
    ? <ContextPage contextId={context} />
    : <ListPage />;
}

applyTheme();
onSystemTheme(applyTheme);
render(<Page />, document.querySelector("#app")!);
