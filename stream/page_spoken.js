// What is played, for screen readers: one sentence at most every few seconds.

import { byId, make } from "./page_dom.js";

const INTERVAL = 4000; // ms
const KEPT = 5; // sentences

export class Spoken {
  constructor() {
    this.log = byId("spoken");
    this.waiting = new Map(); // "source label" to words
    this.timer = 0;
    this.last = -Infinity;
  }

  /** Say that playing began or ended; what comes within the interval is said together. */
  event(event) {
    if (event.type === "update" || document.hidden) return;
    const verb = event.type === "new" ? "plays" : "has stopped";
    this.waiting.set(`${event.source} ${event.label}`, `${event.label} ${verb} on ${event.source}`);
    if (this.timer) return;
    const wait = Math.max(0, this.last + INTERVAL - performance.now());
    this.timer = setTimeout(() => this.say(), wait);
  }

  say() {
    this.timer = 0;
    this.last = performance.now();
    const parts = [...this.waiting.values()];
    this.waiting.clear();
    if (document.hidden || !parts.length) return;
    const more = parts.length > 3 ? `, and ${parts.length - 3} more` : "";
    this.log.append(make("p", {}, parts.slice(0, 3).join(", ") + more));
    while (this.log.childElementCount > KEPT) this.log.firstElementChild.remove();
  }
}
