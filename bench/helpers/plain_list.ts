/** A page as most viewers of logs are: the whole text in memory, below a virtual list of a kept library. */
import { build } from "esbuild";

const SOURCE = `
import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from "@tanstack/virtual-core";
const scroller = document.querySelector("#scroller"), inner = document.querySelector("#inner");
const lines = [];
const reader = (await fetch(CONTENT)).body.pipeThrough(new TextDecoderStream()).getReader();
for (let rest = "";;) {
  const { done, value } = await reader.read();
  if (done) break;
  const parts = (rest + value).split("\\n");
  rest = parts.pop();
  for (const part of parts) lines.push(part);
}
const list = new Virtualizer({
  count: lines.length, estimateSize: () => 18, overscan: 5, getScrollElement: () => scroller,
  scrollToFn: elementScroll, observeElementRect, observeElementOffset, onChange: () => draw(),
});
function draw() {
  inner.style.height = list.getTotalSize() + "px";
  inner.replaceChildren(...list.getVirtualItems().map(({ index, start }) => {
    const row = document.createElement("div");
    row.className = "plain";
    row.dataset.line = index + 1;
    row.style.cssText = "position:absolute;height:18px;transform:translateY(" + start + "px)";
    row.textContent = lines[index];
    return row;
  }));
}
list._didMount();
list._willUpdate();
draw();
requestAnimationFrame(() => { window.firstMs = performance.now(); });
window.lastReached = () => new Promise((resolve) => {
  scroller.scrollTop = scroller.scrollHeight;
  setTimeout(() => resolve(Number(inner.lastElementChild?.dataset.line ?? 0)), 500);
});
`;

/**
 * Makes the page.
 * @param content Address of the text.
 */
export async function plainList(content: string): Promise<string> {
  // What it starts ends with this process: others may be building, and would wait for ever if it were stopped here.
  const { outputFiles } = await build({
    stdin: {
      contents: SOURCE,
      resolveDir: new URL("../..", import.meta.url).pathname,
      loader: "js",
    },
    bundle: true,
    format: "esm",
    target: "chrome120",
    define: { CONTENT: JSON.stringify(content) },
    write: false,
  });
  const script = outputFiles![0].text.replaceAll("</script", "<\\/script");
  return `<!doctype html><body style="margin:0"><div id="scroller" style="height:100vh;overflow:auto;` +
    `position:relative"><div id="inner" style="position:relative"></div></div>` +
    `<script type="module">${script}</script></body>`;
}
