// How the page is looked at, remembered in this browser.

const KEY = "playspot";
const DEFAULTS = { boxes: true, points: true, heat: false, inStep: true, theme: "", letters: true };

function remembered() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {}; // storage is off
  }
}

/** The settings; change them with `set`. */
export const settings = { ...DEFAULTS, ...remembered() };

const listeners = [];

/** Call something whenever a setting has changed. */
export const onSetting = (listener) => listeners.push(listener);

/** Change a setting, for good. */
export function set(name, value) {
  settings[name] = value;
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // not remembered, then
  }
  for (const listener of listeners) listener(name, value);
}
