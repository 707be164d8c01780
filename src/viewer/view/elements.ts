/**
 * What the view of a log is made of.
 * @module
 */

/** Elements of a view. */
export interface ViewElements {
  /** What scrolls. */
  scroller: HTMLElement;
  /** As high as the scroll bar has to tell. */
  spacer: HTMLElement;
  /** What stays in view. */
  layer: HTMLElement;
  /** What is said on paper below the rows. */
  paper: HTMLElement;
  /** The strip of marks; it lies over the edge of the view, not in what scrolls. */
  marks: HTMLCanvasElement;
}

/** Makes them around the rows. */
export function viewElements(rows: HTMLElement): ViewElements {
  const [scroller, spacer, layer] = ["log", "spacer", "layer"].map((name) => {
    const element = document.createElement("div");
    element.className = name;
    return element;
  });
  scroller.tabIndex = 0;
  scroller.setAttribute("role", "log");
  scroller.setAttribute("aria-live", "off");
  scroller.setAttribute("aria-label", "Lines");
  const paper = document.createElement("p");
  paper.className = "paper";
  const marks = document.createElement("canvas");
  marks.className = "marks";
  marks.setAttribute("aria-hidden", "true");
  layer.append(rows);
  spacer.append(layer);
  scroller.append(spacer, paper);
  return { scroller, spacer, layer, paper, marks };
}
