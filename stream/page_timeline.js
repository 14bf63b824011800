// The time line of a source: who played in the last two minutes, a row for each instrument.
//
// Bars stand still on a strip that is moved as time goes on, so a step costs one style of the strip
// and the width of the bars that are open.

import { make, mark, oneStop, say, walk } from "./page_dom.js";
import { clock, duration, score } from "./page_format.js";
import { colourOf } from "./page_paint.js";

const SECONDS = 120;
const FAR = 3600; // s; a strip that was moved so far is laid out again

export class Timeline {
  /** `pick(label)` is called for an instrument, `open(record)` for an event. */
  constructor(name, pick, open) {
    this.pick = pick;
    this.open = open;
    this.rows = new Map(); // label to {row, strip, button, number, bars}
    this.origin = 0; // Unix time at the left of the strip
    this.order = [];
    this.list = make("div", { class: "rows" });
    this.tip = make("div", { class: "tip", hidden: true });
    const axis = make("div", { class: "axis", "aria-hidden": "true" },
      make("span", {}, "2 min"), make("span", {}, "1 min"), make("span", {}, "now"));
    this.element = make("div", { class: "timeline", role: "group", "aria-label": `Time line of ${name}, last 2 minutes` },
      this.list, axis, this.tip);
    walk(this.list, ".bar-of");
    for (const [kind, shows] of [["mouseover", true], ["focusin", true], ["mouseout", false], ["focusout", false]]) {
      this.list.addEventListener(kind, ({ target }) => this.point(target, shows));
    }
  }

  /** Show events up to a time; `playing` is label to score of those who play now. */
  show(events, now, order, playing, picked) {
    this.order = order;
    if (Math.abs(now - this.origin) > FAR) {
      this.origin = now;
      for (const { bars } of this.rows.values()) bars.clear();
      for (const { strip } of this.rows.values()) strip.replaceChildren();
    }
    const first = now - SECONDS;
    const shift = `translateX(${(-100 * (first - this.origin)) / SECONDS}%)`;
    for (const label of playing.keys()) this.row(label);
    const seen = new Set(playing.keys());
    const ids = new Set();
    for (const record of events) {
      const end = record.ended_at ?? now;
      if (end < first) continue;
      seen.add(record.label);
      ids.add(record.id);
      this.place(this.row(record.label), record, end);
    }
    for (const [label, row] of this.rows) {
      if (!seen.has(label)) {
        row.row.remove();
        this.rows.delete(label);
        continue;
      }
      for (const [id, bar] of row.bars) {
        if (ids.has(id)) continue;
        bar.element.remove();
        row.bars.delete(id);
      }
      row.strip.style.transform = shift;
      const value = playing.get(label);
      mark(row.button, "aria-pressed", label === picked);
      mark(row.row, "data-playing", value === undefined ? null : "");
      say(row.number, value === undefined ? "" : score(value));
    }
    oneStop([...this.list.querySelectorAll(".bar-of")]);
  }

  row(label) {
    const known = this.rows.get(label);
    if (known) return known;
    const strip = make("div", { class: "strip" });
    const number = make("span", { class: "number" });
    const button = make("button", { type: "button", class: "row-name", "aria-pressed": "false", title: `Show why: ${label}`, onclick: () => this.pick(label) },
      make("span", { class: "swatch", "aria-hidden": "true" }), make("span", { class: "label" }, label), number);
    const element = make("div", { class: "row", role: "group", "aria-label": label }, button, make("div", { class: "track" }, strip));
    element.style.setProperty("--colour", colourOf(label));
    const rank = (one) => this.order.indexOf(one);
    const after = [...this.rows.keys()].filter((other) => rank(other) > rank(label)).sort((a, b) => rank(a) - rank(b))[0];
    this.list.insertBefore(element, after ? this.rows.get(after).row : null);
    const made = { row: element, strip, button, number, bars: new Map() };
    this.rows.set(label, made);
    return made;
  }

  place(row, record, end) {
    let bar = row.bars.get(record.id);
    if (!bar) {
      const element = make("button", { type: "button", class: "bar-of", tabindex: "-1", onclick: () => this.open(bar.record) });
      bar = { element, end: null };
      element.bar = bar;
      element.style.left = `${(100 * (record.began_at - this.origin)) / SECONDS}%`;
      row.bars.set(record.id, bar);
      row.strip.append(element);
    }
    bar.record = record;
    if (bar.end === end) return;
    bar.end = end;
    bar.element.style.width = `${(100 * (end - record.began_at)) / SECONDS}%`;
    mark(bar.element, "data-open", record.ended_at === null ? "" : null);
    const text = `${record.label}, ${clock(record.began_at)}, ${record.ended_at === null ? "still playing" : duration(end - record.began_at)}, best score ${score(record.top_score)}`;
    bar.text = text;
    // A name that changes with every step would be read out again and again.
    const name = record.ended_at === null ? `${record.label} since ${clock(record.began_at)}` : text;
    mark(bar.element, "aria-label", name);
  }

  point(target, shows) {
    const bar = target.bar;
    this.tip.hidden = !shows || !bar;
    if (this.tip.hidden) return;
    say(this.tip, bar.text);
    const frame = this.element.getBoundingClientRect(), place = target.getBoundingClientRect();
    const middle = (Math.max(place.left, frame.left) + Math.min(place.right, frame.right)) / 2 - frame.left;
    const half = this.tip.offsetWidth / 2;
    this.tip.style.left = `${Math.min(Math.max(middle, half), Math.max(half, frame.width - half))}px`;
    this.tip.style.top = `${place.top - frame.top}px`;
  }
}
