// How the run is doing: one line that says whether all is well, and everything behind it.

import { byId, make, mark, say, settle } from "./page_dom.js";
import { bytes, count, delay, duration, moment, percentiles, plural } from "./page_format.js";
import { soon } from "./page_frame.js";

const REMEMBERED = 30; // statuses of a source, one a second: what is dropped now, not ever
const MANY = 0.05; // share of steps dropped that is worth a word
const DRAWN = 200; // steps whose way to the screen is remembered

export class StatusPanel {
  /** `remove(name)` is called for a source. */
  constructor(remove) {
    this.run = null;
    this.sources = new Map(); // name to {status, before: [{steps, dropped}]}
    this.connection = { state: "wait", why: "" };
    this.ages = []; // ms from publishing to the screen
    this.dialog = byId("status");
    this.body = byId("status-body");
    this.show = this.show.bind(this);
    byId("summary").addEventListener("click", () => this.toggle());
    this.body.addEventListener("click", ({ target }) => {
      if (target.dataset.remove) remove(target.dataset.remove);
    });
  }

  toggle() {
    if (this.dialog.open) return this.dialog.close();
    this.fill();
    this.dialog.showModal();
    this.body.focus({ preventScroll: true });
  }

  addRun(status) {
    this.run = status;
    for (const name of this.sources.keys()) if (!(name in status.sources)) this.sources.delete(name);
    soon(this.show);
  }

  addSource(status) {
    const known = this.sources.get(status.source) ?? { before: [] };
    known.status = status;
    known.before.push({ steps: status.steps, dropped: total(status.dropped) });
    if (known.before.length > REMEMBERED) known.before.shift();
    this.sources.set(status.source, known);
    soon(this.show);
  }

  connected(state, why) {
    this.connection = { state, why };
    soon(this.show);
  }

  drawn(age) {
    this.ages.push(age);
    if (this.ages.length > DRAWN) this.ages.shift();
  }

  show() {
    const found = this.problems();
    const level = this.connection.state === "lost" ? "bad" : !this.run ? "wait" : (found[0]?.level ?? "good");
    const live = [...this.sources.values()].filter(({ status }) => status.state === "live");
    const ages = live.map(({ status }) => status.ages_ms.publisher?.p50 ?? 0).filter(Boolean);
    const latency = ages.length ? `, ${delay(Math.max(...ages))}` : "";
    mark(byId("summary"), "data-level", level);
    if (this.connection.state === "lost") say(byId("summary-text"), "Connection lost");
    else if (!this.run) say(byId("summary-text"), "Connecting");
    else if (found.length) say(byId("summary-text"), found[0].text);
    else say(byId("summary-text"), this.sources.size ? "All well" : "No source yet");
    let more = "";
    if (found.length > 1) more = `and ${found.length - 1} more`;
    else if (!found.length && live.length) more = `${plural(live.length, "source")} live${latency}`;
    say(byId("summary-more"), this.connection.state === "lost" ? "" : more);
    document.title = found.length ? `(${found.length}) Playspot` : "Playspot";
    if (this.dialog.open) this.fill();
  }

  /** Return what is wrong, the worst first: {level, text}. */
  problems() {
    if (!this.run) return [];
    const { workers, journal, sinks, publisher, recordings } = this.run;
    const bad = [], warn = [];
    for (const { name, state, reason } of workers) {
      if (state === "waiting") bad.push(`${name} is down${reason ? `: ${reason}` : ""}`);
    }
    if (journal?.error) bad.push(`Events are not kept: ${journal.error}`);
    for (const { status, before } of this.sources.values()) {
      const { source, state, error } = status;
      if (state === "failed") bad.push(`${source} has failed${error ? `: ${line(error.message)}` : ""}`);
      else if (state === "retrying") warn.push(`${source} is lost${error ? `: ${line(error.message)}` : ""}`);
      const first = before[0], steps = status.steps - first.steps;
      const dropped = total(status.dropped) - first.dropped;
      if (state === "live" && steps >= 10 && dropped > MANY * steps) {
        warn.push(`${source} loses ${Math.round((100 * dropped) / steps)}% of its steps`);
      }
    }
    for (const [name, { state, error }] of Object.entries(sinks)) {
      if (state !== "ok") warn.push(`${name} takes no events${error ? `: ${error}` : ""}`);
    }
    if (recordings?.error) warn.push(`No recordings: ${recordings.error}`);
    if (journal?.lost) warn.push(`${plural(journal.lost, "event")} not kept`);
    if (publisher === null) warn.push("Nothing is published");
    return [...bad.map((text) => ({ level: "bad", text })), ...warn.map((text) => ({ level: "warn", text }))];
  }

  /** Write the panel. */
  fill() {
    settle(this.body, this.sections());
  }

  sections() {
    const { run } = this;
    const found = this.problems();
    const items = found.map(({ level, text }) => make("li", { "data-level": level }, text));
    const wrong = make("ul", { class: "problems", hidden: !items.length }, ...items);
    if (!run) return [make("p", {}, this.connection.why || "Connecting")];
    const drawn = percentiles(this.ages);
    const { journal, publisher, model, recordings } = run;
    const building = typeof run.building === "number" ? `; TensorRT plans ${Math.floor(100 * run.building)}% built` : "";
    return [
      wrong,
      table("Sources", ["Source", "State", "Latency", "Dropped", ""], [...this.sources.values()].map((one) => this.sourceRow(one))),
      table("Processes", ["Process", "State", "Memory", "Restarts"], run.workers.map(workerRow)),
      table("Where events go", ["To", "State", "Delivered", "Behind"], [
        ...Object.entries(run.sinks).map(([name, sink]) => sinkRow(name, sink)),
        ...(recordings ? [cells([["recordings"], [lamp(recordings.error ? "warn" : "good", recordings.error ?? "ok"), bytes(recordings.bytes)], [count(recordings.snapshots + recordings.clips), "number"], ["", "number"]])] : []),
        ...(journal ? [cells([["journal"], [lamp(journal.error ? "bad" : "good", journal.error ?? "ok"), journal.folder], ["", "number"], [journal.unsaved ? count(journal.unsaved) : "–", "number"]])] : []),
      ]),
      facts([
        ["Up for", duration(run.uptime)],
        ["Model", `${model.name}, ${model.engine} ${model.precision}${building}`],
        ["Budget", delay(1000 * run.budget)],
        ["Look-ahead of the models", delay(1000 * run.look_ahead)],
        ["Published at", run.endpoint ?? "nowhere"],
        ["Subscribed topics", publisher ? count(publisher.subscriptions) : ""],
        ["Slow subscribers", publisher ? count(publisher.overflows) : ""],
        ["From detection to this screen", drawn ? `${delay(drawn.p50)}, 95% within ${delay(drawn.p95)} (n ${drawn.n})` : ""],
        ["Run", run.system_id],
      ]),
    ];
  }

  sourceRow({ status }) {
    const { source, state, error, since, retry_in: retry, ages_ms: ages, url: place } = status;
    const level = { live: "good", failed: "bad", retrying: "warn" }[state] ?? "wait";
    const until = retry ? `; again in ${Math.ceil(retry)} s` : "";
    const detail = error ? line(error.message) + until : `since ${moment(since)}`;
    const age = ages.publisher;
    const causes = Object.entries(status.dropped).map(([cause, n]) => `${cause} ${n}`).join(", ");
    const button = make("button", { type: "button", class: "small", "data-remove": source, "aria-label": `Remove ${source}` }, "Remove");
    return cells([[source, "", place], [lamp(level, state), detail], [age ? delay(age.p50) : "–", "number", age ? `95% ${delay(age.p95)}` : ""], [count(total(status.dropped)), "number", causes], [button]]);
  }
}

const line = (message) => message.replace(/\.$/, "");

const total = (counts) => Object.values(counts).reduce((sum, n) => sum + n, 0);

const lamp = (level, text) => make("span", { class: "lit", "data-level": level }, text);

function workerRow({ name, state, rss_mb: memory, restarts, reason }) {
  const level = state === "running" ? "good" : "bad";
  return cells([[name], [lamp(level, state), reason], [`${Math.round(memory)} MB`, "number"], [restarts ? count(restarts) : "–", "number"]]);
}

function sinkRow(name, { state, error, delivered, behind, lost }) {
  const level = { ok: "good", retrying: "warn" }[state] ?? "bad";
  return cells([[name], [lamp(level, state), error ?? ""], [count(delivered), "number", lost ? `${count(lost)} lost` : ""], [behind ? bytes(behind) : "–", "number"]]);
}

/** Return a row: of each cell its content, and below it or as its class what else there is. */
function cells(row) {
  return make("tr", {}, ...row.map(([content, second = "", third = ""], i) => {
    const isNumber = second === "number";
    const detail = isNumber ? third : second || third;
    return make(i ? "td" : "th", { scope: i ? null : "row", class: isNumber ? "number" : null },
      content, detail ? make("span", { class: "detail" }, detail) : null);
  }));
}

function table(title, columns, rows) {
  if (!rows.length) return make("table", { hidden: true });
  for (const row of rows) { // for phones, where there is no room for the head
    [...row.cells].forEach((cell, i) => i && columns[i] && mark(cell, "data-name", columns[i]));
  }
  const head = make("tr", {}, ...columns.map((name) => (name ? make("th", { scope: "col" }, name) : make("td", {}))));
  return make("table", {}, make("caption", {}, title), make("thead", {}, head), make("tbody", {}, ...rows));
}

function facts(pairs) {
  const known = pairs.filter(([, value]) => value);
  return make("dl", { class: "facts" }, ...known.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}
