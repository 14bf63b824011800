// One event in a dialog: its clip or picture, when, how sure.

import { ApiError, get, url } from "./page_api.js";
import { byId, make } from "./page_dom.js";
import { duration, moment, score } from "./page_format.js";
import { colourOf } from "./page_paint.js";

const MODELS = ["action", "object", "sound"];
const REASONS = {
  silence: "playing stopped", end_of_stream: "the source is over", source_lost: "the source broke off",
  timeout: "no more detections came", shutdown: "Playspot was stopped",
};

export class EventDialog {
  constructor() {
    this.dialog = byId("event");
    this.canRecord = false;
    this.dialog.addEventListener("close", () => byId("event-body").replaceChildren()); // ends the clip
  }

  /** Show an event; what has changed since is fetched. */
  async open(record) {
    this.id = record.id;
    this.show(record);
    if (!this.dialog.open) this.dialog.showModal();
    try {
      const fresh = await get(["events", record.id]);
      if (this.dialog.open && this.id === record.id) this.show(fresh);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // what is known is shown
    }
  }

  show(record) {
    const title = byId("event-title");
    title.replaceChildren(make("span", { class: "swatch", "aria-hidden": "true" }), record.label);
    this.dialog.style.setProperty("--colour", colourOf(record.label));
    const isOpen = record.ended_at === null;
    const length = isOpen ? "still playing" : duration(record.ended_at - record.began_at);
    const facts = [
      ["Source", record.source],
      ["Began", moment(record.began_at)],
      ["Length", length],
      ["Best score", score(record.top_score)],
      ["Ended", isOpen ? "" : (REASONS[record.end_reason] ?? record.end_reason ?? "")],
      ["Zones", (record.zones ?? []).join(", ")],
      ["Model", record.model ? `${record.model.name} on ${record.model.engine}` : ""],
    ].filter(([, value]) => value);
    byId("event-body").replaceChildren(
      this.recording(record),
      make("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
      make("div", { class: "levels", role: "group", "aria-label": "Why, at the best moment" }, ...MODELS.map((model) => level(model, record.modalities?.[model]))),
    );
  }

  recording(record) {
    const snapshot = url("events", record.id, "snapshot.jpg").href;
    if (record.has_clip) {
      const poster = record.has_snapshot ? snapshot : null;
      return make("video", { class: "recording", src: url("events", record.id, "clip.mp4").href, poster, controls: true, playsinline: true, preload: "metadata", "aria-label": `Clip of the ${record.label} on ${record.source}` });
    }
    if (record.has_snapshot) {
      return make("img", { class: "recording", src: snapshot, alt: `The ${record.label} on ${record.source} at its best score` });
    }
    const why = this.canRecord ? "There is no recording of this event." : "Nothing is recorded. To keep pictures and clips, put recordings: {clips: true} into the configuration.";
    return make("p", { class: "muted no-recording" }, why);
  }
}

function level(model, modality) {
  const value = modality?.score ?? null;
  const bar = make("div", { class: "level-bar", role: "meter", "aria-label": model, "aria-valuemin": "0", "aria-valuemax": "1", "aria-valuenow": value ?? 0 }, make("div", {}));
  bar.firstChild.style.width = `${100 * (value ?? 0)}%`;
  const text = value === null ? (modality?.status ?? "missing") : score(value);
  return make("div", { class: "level" }, make("span", {}, model), bar, make("span", { class: "number" }, text));
}
