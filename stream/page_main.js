// The live page: what comes over the socket goes to the tiles, the list and the status panel.

import { ApiError, get } from "./page_api.js";
import { byId, mark, say } from "./page_dom.js";
import { EventDialog } from "./page_event.js";
import { addForm, closeByButton, loginForm, removeForm } from "./page_forms.js";
import { soon } from "./page_frame.js";
import { wireKeys } from "./page_keys.js";
import { EventList } from "./page_list.js";
import { useColours } from "./page_paint.js";
import { onSetting, settings } from "./page_settings.js";
import { Socket } from "./page_socket.js";
import { Source } from "./page_source.js";
import { Spoken } from "./page_spoken.js";
import { StatusPanel } from "./page_status.js";
import { Tile } from "./page_tile.js";

const SIDES = [160, 240, 320, 480, 640, 960]; // px: few, so that a small change of the window is none
const MANY = 12; // sources; of more the tiles are small
const RECENT = 900; // s: what began before may reach into the time lines

const tiles = new Map(); // source to Tile
const visible = new Set(); // tiles
let labels = [];
let large = null; // the tile that has the stage for itself

const spoken = new Spoken();
const dialog = new EventDialog();
const open = (record) => dialog.open(record);
const list = new EventList(open);
const askRemove = removeForm((name) => forget(name));
const status = new StatusPanel(askRemove);
const askAdd = addForm(() => {});
const askLogin = loginForm(() => socket.again());
const socket = new Socket({ status: takeStatus, hello, message, picture, state, login: askLogin });

const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const tile = tiles.get(target.dataset.source);
    if (!tile) continue;
    if (isIntersecting) visible.add(tile);
    else visible.delete(tile);
    tile.see(isIntersecting);
  }
  soon(wish);
}, { rootMargin: "80px" });

const resizer = new ResizeObserver(() => {
  for (const tile of visible) tile.view.redraw();
  soon(wish);
});

function hello(message) {
  labels = message.labels;
  dialog.canRecord = list.canRecord = message.can_record;
  useColours(message.colours ?? {});
  list.offer("label", labels);
  for (const tile of tiles.values()) tile.labels = labels;
  wish();
  list.load(true);
  fillTimelines();
}

/** Say which pictures are wanted: those that are seen, as large as they are seen. */
function wish() {
  const pictures = {};
  const ratio = Math.min(devicePixelRatio, 2);
  for (const { source, canvas } of visible) {
    const side = ratio * Math.max(canvas.clientWidth, canvas.clientHeight);
    if (side) pictures[source.name] = SIDES.find((one) => one >= 0.9 * side) ?? SIDES.at(-1);
  }
  const heat = settings.heat ? Object.keys(pictures) : [];
  socket.want({ events: true, steps: true, status: true, heat, pictures });
}

async function fillTimelines() {
  try {
    const answer = await get(["events"], { from: Date.now() / 1000 - RECENT, limit: 500 });
    for (const record of answer.events.reverse()) {
      const { source } = tiles.get(record.source) ?? {};
      const known = source?.events.get(record.id);
      if (source && !(known && known.last_seq >= record.last_seq)) source.addRecord(record);
    }
    for (const tile of tiles.values()) tile.refresh();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error; // the list says it
  }
}

function message({ type, data, message: text }) {
  if (type === "status") return "source" in data ? takeSource(data) : takeRun(data);
  if (type === "error") return console.warn(text);
  const tile = tiles.get(data.source);
  if (type === "event") {
    const record = tile?.source.addEvent(data);
    if (tile && !record) return; // had before
    spoken.event(data);
    if (record) list.update(record);
    tile?.refresh();
  } else if (type === "step" && tile) {
    tile.source.addStep(data);
    tile.addStep(data);
  } else if (type === "heat" && tile && settings.heat) tile.view.addHeat(data);
}

function picture(header, blob) {
  tiles.get(header.source)?.view.addPicture(header, blob);
}

function takeStatus(answer) {
  if (answer.run) takeRun(answer.run); // null just after the start
  for (const one of answer.sources) takeSource(one);
}

function takeRun(run) {
  status.addRun(run);
  const names = Object.keys(run.sources);
  for (const name of names) tileOf(name);
  for (const name of [...tiles.keys()]) if (!names.includes(name)) forget(name);
  byId("no-source").hidden = names.length > 0;
  mark(byId("tiles"), "data-n", names.length > MANY ? "crowd" : names.length > 4 ? "many" : names.length);
  list.offer("source", names);
}

function takeSource(one) {
  status.addSource(one);
  const tile = tileOf(one.source);
  tile.source.addStatus(one);
  tile.refresh();
}

function tileOf(name) {
  const known = tiles.get(name);
  if (known) return known;
  const tile = new Tile(new Source(name), labels, { open, enlarge });
  tiles.set(name, tile);
  byId("tiles").append(tile.element);
  watcher.observe(tile.element);
  resizer.observe(tile.canvas);
  return tile;
}

function forget(name) {
  const tile = tiles.get(name);
  if (!tile) return;
  watcher.unobserve(tile.element);
  resizer.unobserve(tile.canvas);
  visible.delete(tile);
  tiles.delete(name);
  if (large === tile) enlarge(tile);
  tile.element.remove();
  tile.view.see(false);
  soon(wish);
}

/** Give a tile the stage for itself; again, or null: all are back. */
function enlarge(tile) {
  large = tile === large ? null : tile;
  mark(byId("tiles"), "data-large", large ? "" : null);
  for (const one of tiles.values()) {
    mark(one.element, "data-large", one === large ? "" : null);
    mark(one.large, "aria-pressed", one === large);
  }
  large?.large.focus();
}

function state(name, why) {
  status.connected(name, why);
  const isLost = name === "lost";
  byId("lost").hidden = !isLost;
  mark(document.body, "data-lost", isLost ? "" : null);
  if (isLost) say(byId("lost-text"), `No connection to Playspot; trying again. ${why}`.trim());
}

function view(name) {
  document.querySelector("main").dataset.view = name;
  for (const button of document.querySelectorAll(".tabs button")) {
    mark(button, "aria-current", button.dataset.view === name ? "true" : null);
  }
}

closeByButton();
wireKeys({
  add: () => askAdd(),
  status: () => status.toggle(),
  search: () => {
    view("events");
    byId("words").focus();
  },
  enlarge: (number) => {
    const tile = number === null ? null : [...tiles.values()][number - 1];
    if (tile || number === null) enlarge(tile);
  },
});
onSetting((name) => {
  for (const tile of visible) tile.view.redraw();
  if (name === "heat") wish();
});
byId("add").addEventListener("click", () => askAdd());
for (const button of document.querySelectorAll("[data-add]")) {
  button.addEventListener("click", () => askAdd(button.dataset.add));
}
for (const button of document.querySelectorAll(".tabs button")) {
  button.addEventListener("click", () => view(button.dataset.view));
}
byId("lost-now").addEventListener("click", () => socket.again());
document.addEventListener("drawn", ({ detail }) => status.drawn(detail.age));
document.addEventListener("visibilitychange", () => {
  for (const tile of tiles.values()) {
    if (document.hidden) tile.view.queue.clear();
    else tile.refresh();
  }
});
socket.again();
