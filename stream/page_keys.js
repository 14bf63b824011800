// Keys of one letter, and the buttons that do the same.

import { byId, mark } from "./page_dom.js";
import { onSetting, set, settings } from "./page_settings.js";

const SWITCHES = { b: "boxes", p: "points", h: "heat", s: "inStep" };

/** Wire switches and keys; `on` has add(), status(), search(), enlarge(number or null). */
export function wireKeys(on) {
  const buttons = [...document.querySelectorAll("[data-switch]")];
  const toggle = (name) => set(name, !settings[name]);
  const show = () => {
    for (const button of buttons) mark(button, "aria-pressed", settings[button.dataset.switch]);
    mark(document.documentElement, "data-theme", settings.theme || null);
    byId("letters").checked = settings.letters;
  };
  for (const button of buttons) button.addEventListener("click", () => toggle(button.dataset.switch));
  byId("theme").addEventListener("click", otherTheme);
  byId("keys").addEventListener("click", () => byId("help").showModal());
  byId("letters").addEventListener("change", ({ target }) => set("letters", target.checked));
  onSetting(show);
  show();
  const actions = { a: on.add, i: on.status, t: otherTheme, "/": on.search, "?": () => byId("help").showModal() };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const isOpen = document.querySelector("dialog[open]");
    if (event.key === "Escape" && !isOpen) return on.enlarge(null);
    if (isOpen || !settings.letters || isTyping(event.target)) return;
    const name = SWITCHES[event.key];
    if (name) toggle(name);
    else if (/^[1-9]$/.test(event.key)) on.enlarge(Number(event.key));
    else if (actions[event.key]) actions[event.key]();
    else return;
    event.preventDefault();
  });
}

/** Is a key meant for a field? Fields of a dialog just closed hold the focus until the next frame. */
function isTyping(field) {
  return field.matches("input, select, textarea") && !field.closest("dialog:not([open])");
}

/** Change between light and dark; what the system says is not remembered. */
function otherTheme() {
  const systemIsDark = matchMedia("(prefers-color-scheme: dark)").matches;
  const isDark = settings.theme ? settings.theme === "dark" : systemIsDark;
  const next = isDark ? "light" : "dark";
  set("theme", (next === "dark") === systemIsDark ? "" : next);
}
