// The list of events: the newest first, searched in the history, and added to as they come.

import { ApiError, get } from "./page_api.js";
import { byId, icon, make, mark, oneStop, say, walk } from "./page_dom.js";
import { duration, moment, score } from "./page_format.js";
import { soon } from "./page_frame.js";
import { colourOf } from "./page_paint.js";

const PAGE = 50;
const MOST = 400; // rows kept while new ones come in at the top
const TYPING = 200; // ms without a key before the list is asked for
const ENOUGH = 12; // rows that match the words, before the next page is fetched by itself
const RECORDING = 6000; // ms after an end until its clip is there
const MOST_PAGES = 8; // that one search fetches by itself

// Messages of an event say nothing of its recordings; what was known of them stays.
const has = ({ has_snapshot, has_clip }) => ({ has_snapshot, has_clip });

export class EventList {
  /** `open(record, list)` is called for a row. */
  constructor(open) {
    this.open = open;
    this.rows = new Map(); // id to {row, record}
    this.next = null; // cursor
    this.asked = null; // AbortController
    this.timer = 0;
    this.isLoaded = false;
    this.canRecord = false;
    this.checking = 0; // timer
    this.list = byId("list");
    this.note = byId("list-note");
    this.form = byId("search");
    this.more = byId("more");
    this.counted = this.count.bind(this);
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("input", (event) => this.changed(event.target));
    this.form.addEventListener("reset", () => setTimeout(() => this.changed(this.form), 0));
    this.more.addEventListener("click", () => this.load(false));
    walk(this.list, ".event");
  }

  /** Offer instruments or sources to choose from. */
  offer(field, names) {
    const select = this.form.elements[field];
    const have = [...select.options].slice(1).map((option) => option.value);
    if (have.join("\n") === names.join("\n")) return;
    const { value } = select;
    select.replaceChildren(select.options[0], ...names.map((name) => make("option", { value: name }, name)));
    select.value = names.includes(value) ? value : "";
  }

  changed(target) {
    const { elements } = this.form;
    for (const field of this.form.querySelectorAll(".range")) field.hidden = elements.span.value !== "range";
    const n = ["label", "source", "span", "min_score"].filter((name) => elements[name].value).length;
    say(this.form.querySelector("summary"), n ? `Filter (${n})` : "Filter");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(true), target.name === "words" ? TYPING : 0);
  }

  get words() {
    return this.form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  }

  get query() {
    const { label, source, span, min_score: least, from, to } = this.form.elements;
    const query = { label: label.value, source: source.value, min_score: least.value };
    const unix = (field) => (field.value ? new Date(field.value).getTime() / 1000 : "");
    if (span.value === "range") return { ...query, from: unix(from), to: unix(to) };
    return { ...query, from: span.value ? Date.now() / 1000 - span.value : "" };
  }

  /** Fetch the events of the search: from its beginning, or the next page. */
  async load(isNew) {
    this.asked?.abort();
    this.asked = new AbortController();
    const { signal } = this.asked;
    let cursor = isNew ? "" : this.next;
    let replaces = isNew;
    try {
      for (let page = 0; page < MOST_PAGES; page += 1) {
        const answer = await get(["events"], { ...this.query, limit: PAGE, cursor }, signal);
        if (replaces) this.clear();
        replaces = false;
        for (const record of answer.events) this.put(record, false);
        this.next = cursor = answer.next;
        if (!this.next || this.list.querySelectorAll("li:not([hidden])").length >= ENOUGH) break;
      }
      this.isLoaded = true;
      this.count();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof ApiError)) throw error;
      if (error.status !== 0) say(this.note, error.message); // no connection is said elsewhere
    }
  }

  clear() {
    this.rows.clear();
    this.list.replaceChildren();
  }

  /** Take in an event that began, went on or ended just now. */
  update(record) {
    if (!this.isLoaded) return;
    const known = this.rows.get(record.id);
    if (known) this.fill(known, { ...known.record, ...record, ...has(known.record) });
    else if (this.matches(record)) {
      this.put(record, true);
      while (this.rows.size > MOST) {
        const [id] = [...this.rows].pop();
        const last = this.list.lastElementChild;
        this.rows.delete(last?.dataset.id ?? id);
        last?.remove();
        this.more.hidden = true; // the cursor is further down than the list now
      }
    } else return;
    if (record.ended_at !== null) this.recheck();
    soon(this.counted);
  }

  /** After a while, see whether there are recordings of the newest events. */
  recheck() {
    if (!this.canRecord || this.checking || document.hidden) return;
    this.checking = setTimeout(async () => {
      this.checking = 0;
      if (document.hidden) return;
      const answer = await get(["events"], { ...this.query, limit: PAGE }).catch(() => ({ events: [] }));
      for (const record of answer.events) {
        const known = this.rows.get(record.id);
        if (known) this.fill(known, record);
      }
    }, RECORDING);
  }

  matches(record) {
    const query = this.query;
    return (
      (!query.label || record.label === query.label) &&
      (!query.source || record.source === query.source) &&
      record.top_score >= (query.min_score || 0) &&
      (!query.to || record.began_at <= query.to)
    );
  }

  says(record) {
    const text = [record.label, record.source, ...(record.zones ?? []), record.end_reason ?? "", record.id].join(" ").toLowerCase();
    return this.words.every((word) => text.includes(word));
  }

  put(record, isNew) {
    if (this.rows.has(record.id)) return;
    const parts = {
      time: make("time", {}), length: make("span", { class: "number length" }),
      score: make("span", { class: "number" }), has: make("span", { class: "has" }),
    };
    const kept = { parts, record };
    const button = make("button", { type: "button", class: "event", tabindex: "-1", onclick: () => this.open(kept.record) },
      make("span", { class: "swatch", "aria-hidden": "true" }),
      make("span", { class: "what" }, make("b", {}, record.label), make("span", { class: "where" }, record.source)),
      parts.has, make("span", { class: "when" }, parts.time, parts.length), parts.score);
    kept.row = make("li", { "data-id": record.id }, button);
    kept.row.style.setProperty("--colour", colourOf(record.label));
    this.rows.set(record.id, kept);
    this.fill(kept, record);
    if (isNew) this.list.prepend(kept.row);
    else this.list.append(kept.row);
  }

  fill(kept, record) {
    const { parts, row } = kept;
    kept.record = record;
    const isOpen = record.ended_at === null;
    say(parts.time, moment(record.began_at));
    mark(parts.time, "datetime", new Date(record.began_at * 1000).toISOString());
    say(parts.length, isOpen ? "playing" : duration(record.ended_at - record.began_at));
    say(parts.score, score(record.top_score));
    mark(row, "data-open", isOpen ? "" : null);
    const has = [record.has_snapshot && "snapshot", record.has_clip && "clip"].filter(Boolean);
    if (parts.has.childElementCount !== 2 * has.length) {
      parts.has.replaceChildren(...has.flatMap((kind) => [icon(kind), make("span", { class: "hidden" }, kind)]));
    }
    row.hidden = !this.says(record);
  }

  /** Say what there is, and what to do where there is nothing. */
  count() {
    oneStop([...this.list.querySelectorAll("li:not([hidden]) .event")]);
    this.more.hidden = !this.next;
    const n = this.list.querySelectorAll("li:not([hidden])").length;
    const isSearch = this.words.length > 0 || Object.values(this.query).some(Boolean);
    if (n) say(this.note, "");
    else say(this.note, isSearch ? "No event matches. Clear the search to see all." : "Nothing was played yet. As soon as somebody plays, it is listed here.");
  }
}
