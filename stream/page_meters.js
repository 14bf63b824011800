// Why: how sure each model is of one instrument, over the last half minute.

import { draw, make, mark, say } from "./page_dom.js";
import { score } from "./page_format.js";

const SECONDS = 30;
const LONGEST_GAP = 0.8; // s; over longer ones no line is drawn
const MODELS = ["action", "object", "sound"];
const MEANING = {
  all: "all three together",
  action: "the motion of playing is seen",
  object: "the instrument is seen",
  sound: "the instrument is heard",
};

export class Meters {
  constructor() {
    this.panels = new Map();
    this.label = make("span", { class: "why-label" });
    this.element = make("div", { class: "meters", role: "group", "aria-label": "Why" });
    for (const kind of ["all", ...MODELS]) this.element.append(this.panel(kind));
  }

  panel(kind) {
    const number = make("span", { class: "number" }, "–");
    const area = draw("path", { class: "area" }), line = draw("path", { class: "line" });
    const box = { class: "curve", viewBox: `0 0 ${SECONDS} 1`, preserveAspectRatio: "none", "aria-hidden": "true" };
    const curve = draw("svg", box, draw("path", { class: "half", d: `M0 .5H${SECONDS}` }), area, line);
    this.panels.set(kind, { number, area, line });
    return make("div", { class: `meter ${kind}`, title: MEANING[kind] },
      make("div", { class: "meter-name" }, make("span", {}, kind), number), curve);
  }

  /** Show the scores of a label in some steps, oldest first; the panel ends at the newest. */
  show(label, steps) {
    const newest = steps.at(-1);
    mark(this.element, "aria-label", label ? `Why ${label}` : "Why");
    for (const [kind, panel] of this.panels) {
      const points = [];
      let status = null;
      for (const step of label && newest ? steps : []) {
        const x = SECONDS - (newest.time - step.time);
        if (x < 0) continue;
        const found = strongest(step, label);
        const value = kind === "all" ? step.scores[label] : found?.modalities[kind]?.score;
        status = kind === "all" ? "ok" : (found?.modalities[kind]?.status ?? step.status[kind]);
        points.push([x, value ?? null]);
      }
      const [line, area] = paths(points);
      mark(panel.line, "d", line);
      mark(panel.area, "d", area);
      const last = points.at(-1)?.[1] ?? null;
      say(panel.number, last === null && status && status !== "ok" ? status : score(last));
    }
  }
}

/** Return the detection of a label with the best score in a step, or undefined. */
export function strongest(step, label) {
  const found = step.detections.filter((one) => one.label === label);
  return found.reduce((best, one) => (one.score > best.score ? one : best), found[0]);
}

function paths(points) {
  let line = "", area = "", start = null, before = null;
  const close = () => {
    if (before) area += `L${at(before[0])} 1L${at(start)} 1Z`;
    before = null;
  };
  for (const point of points) {
    const [x, value] = point;
    if (value === null) {
      close();
      continue;
    }
    if (before && x - before[0] > LONGEST_GAP) close();
    const place = `${at(x)} ${at(1 - value)}`;
    line += before ? `L${place}` : `M${place}h.01`; // a single point shows as a dot
    area += before ? `L${place}` : `M${place}`;
    if (!before) start = x;
    before = point;
  }
  close();
  return [line, area];
}

const at = (value) => value.toFixed(3);
