// What is known of one source: its last steps, and its events of the last minutes.
//
// Events of both kinds become one record, that of `StoredEvent`: what the history gives, and what
// `follow` makes of the messages of an event that goes on.

const KEPT_STEPS = 75; // 38 s
const KEPT_SECONDS = 150; // of events; the time line shows 120

/** Return the record of an event after one more of its messages. */
export function follow(record, event) {
  const captured = event.wall_time - (event.latency_ms ?? 0) / 1000;
  const began = record?.began_at ?? captured - (event.time - event.start_time);
  const isBest = !record || event.top_score > record.top_score;
  const best = isBest ? event : record;
  const isOver = event.type === "end";
  return {
    ...record,
    id: event.id,
    source: event.source,
    label: event.label,
    system_id: event.system_id,
    state: isOver ? "ended" : "open",
    began_at: began,
    ended_at: isOver ? began + (event.end_time ?? event.time) - event.start_time : null,
    score: event.score,
    top_score: Math.max(event.top_score, record?.top_score ?? 0),
    modalities: best.modalities,
    zones: best.zones,
    end_reason: event.end_reason,
    last_seq: event.seq,
  };
}

export class Source {
  constructor(name) {
    this.name = name;
    this.status = null;
    this.steps = []; // oldest first
    this.events = new Map(); // id to record
    this.now = 0; // Unix time that the time line reaches
  }

  /** Take a step in; one of another run puts an end to the steps before. */
  addStep(step) {
    const last = this.steps.at(-1);
    if (last && (last.system_id !== step.system_id || step.time <= last.time)) this.steps = [];
    this.steps.push(step);
    if (this.steps.length > KEPT_STEPS) this.steps.shift();
    this.now = Math.max(this.now, step.captured);
  }

  /** Take a message of an event in; return its record, or null if it is an old one. */
  addEvent(event) {
    const before = this.events.get(event.id);
    if (before && before.system_id === event.system_id && event.seq <= before.last_seq) return null;
    const record = follow(before, event);
    this.addRecord(record);
    return record;
  }

  addRecord(record) {
    this.events.set(record.id, record);
    this.now = Math.max(this.now, record.ended_at ?? record.began_at);
    for (const [id, { ended_at: end }] of this.events) {
      if (end !== null && end < this.now - KEPT_SECONDS) this.events.delete(id);
    }
  }

  /** Take a status in; while nothing is detected the time line goes on by it. */
  addStatus(status) {
    this.status = status;
    const delay = this.steps.length ? 1 : 0;
    if (status.wall_time - this.now > 3) this.now = status.wall_time - delay;
  }

  /** Return the step to a media time: the last one before, unless that is long over. */
  stepAt(time) {
    const step = this.steps.findLast((one) => one.time <= time + 0.064);
    return step && time - step.time < 1.1 ? step : null;
  }

  get newest() {
    return this.steps.at(-1) ?? null;
  }
}
