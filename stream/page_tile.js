// A source on the page: its picture, why, and its time line.

import { icon, make, mark, say } from "./page_dom.js";
import { delay, score } from "./page_format.js";
import { soon } from "./page_frame.js";
import { Meters } from "./page_meters.js";
import { colourOf } from "./page_paint.js";
import { PictureView } from "./page_picture.js";
import { Timeline } from "./page_timeline.js";

const SPOKEN_INTERVAL = 2000; // ms between two descriptions of a picture
const STATES = {
  off: "off", connecting: "connecting", live: "live", retrying: "trying again", failed: "failed", over: "over",
};

export class Tile {
  /** `on` has open(record), enlarge(tile). */
  constructor(source, labels, on) {
    this.source = source;
    this.labels = labels;
    this.picked = null; // an instrument chosen by hand
    this.last = null; // the strongest one, also after it has stopped
    this.spoken = -Infinity;
    const { name } = source;
    this.state = make("span", { class: "state", "data-state": "connecting" }, "connecting");
    this.age = make("span", { class: "age number", title: "From capture to detection" });
    this.large = make("button", { type: "button", class: "plain large", "aria-pressed": "false", "aria-label": `Enlarge ${name}`, title: "Enlarge", onclick: () => on.enlarge(this) }, icon("large"));
    this.canvas = make("canvas", { class: "picture", role: "img", "aria-label": `Picture of ${name}` });
    this.note = make("p", { class: "over-picture", hidden: true });
    this.view = new PictureView(source, this.canvas);
    this.meters = new Meters();
    this.timeline = new Timeline(name, (label) => this.pick(label), on.open);
    this.element = make("article", { class: "tile", "aria-label": name, "data-source": name },
      make("header", {}, make("h2", {}, name), this.state, this.age, this.large),
      make("div", { class: "screen" }, this.canvas, this.note),
      make("div", { class: "below" }, this.meters.element, this.timeline.element));
    this.show = this.show.bind(this);
  }

  addStep(step) {
    this.view.addStep(step);
    this.refresh();
  }

  /** Show what the source is now, in the next frame. */
  refresh() {
    if (this.view.isVisible) soon(this.show);
  }

  /** Say whether anybody can see it. */
  see(isVisible) {
    this.view.see(isVisible);
    this.refresh();
  }

  pick(label) {
    this.picked = this.picked === label ? null : label;
    this.refresh();
  }

  show() {
    const { newest, status, now } = this.source;
    const isFresh = newest && now - newest.captured < 3;
    const playing = new Map();
    for (const { label, score: value } of isFresh ? newest.detections : []) {
      playing.set(label, Math.max(value, playing.get(label) ?? 0));
    }
    const best = [...playing].reduce((a, b) => (b[1] > a[1] ? b : a), [null, 0])[0];
    const events = [...this.source.events.values()];
    this.last = best ?? this.last ?? events.at(-1)?.label ?? null;
    const label = this.picked ?? this.last;
    this.element.style.setProperty("--colour", label ? colourOf(label) : "");
    this.timeline.show(events, now, this.labels, playing, label);
    this.meters.show(label, this.source.steps);
    this.showState(status, isFresh ? newest : null);
    this.describe(playing);
  }

  showState(status, newest) {
    const state = status?.state ?? "connecting";
    mark(this.state, "data-state", state);
    say(this.state, STATES[state] ?? state);
    say(this.age, newest ? delay(newest.latency_ms) : "");
    const why = state === "live" ? "" : (status?.error?.message ?? { off: "Outside of its schedule.", over: "It has ended.", connecting: "Connecting" }[state] ?? "");
    const isOn = state === "live";
    this.note.hidden = isOn;
    say(this.note, isOn ? "" : why);
    mark(this.element, "data-state", state);
    if (!isOn && this.view.bitmap) this.view.blank();
  }

  /** Describe the picture in words, for those who do not see it; not with every step. */
  describe(playing) {
    if (performance.now() - this.spoken < SPOKEN_INTERVAL) return;
    this.spoken = performance.now();
    const players = [...playing].map(([label, value]) => `${label} ${score(value)}`).join(", ");
    mark(this.canvas, "aria-label", `Picture of ${this.source.name}: ${players || "nobody plays"}`);
  }
}
