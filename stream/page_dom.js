// Elements of the page. Text only ever goes in as text, whatever the network sent.

const SVG = "http://www.w3.org/2000/svg";

/** Return the element of an id. */
export const byId = (id) => document.getElementById(id);

/**
 * Return a new element. Attributes that are functions listen ("onclick"), false and null are left
 * out; children are elements or strings, null is left out.
 */
export function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Return a new SVG element, as `make` does. */
export function draw(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(key, value === true ? "" : value);
    }
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Return one of the icons in page.html. */
export function icon(name) {
  return draw("svg", { class: "icon", "aria-hidden": "true" }, draw("use", { href: `#i-${name}` }));
}

/** Set the text of an element, if it is another one: an unchanged page is not laid out again. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set an attribute, if it has another value; null removes it. */
export function mark(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/**
 * Make the children of an element like those given. Elements that are alike stay, so that focus,
 * a click under way and what a screen reader reads are not disturbed; listeners are not copied.
 */
export function settle(element, children) {
  const old = [...element.childNodes];
  children.forEach((child, i) => {
    const had = old[i];
    if (!had) element.append(child);
    else if (had.nodeName !== child.nodeName) had.replaceWith(child);
    else if (child instanceof Text) say(had, child.textContent);
    else {
      const names = [...had.getAttributeNames(), ...child.getAttributeNames()];
      for (const name of names) mark(had, name, child.getAttribute(name));
      settle(had, [...child.childNodes]);
    }
  });
  for (const rest of old.slice(children.length)) rest.remove();
}

/** Let the arrow keys walk along the elements of a selector; only one of them is a tab stop. */
export function walk(container, selector) {
  container.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };
    const items = [...container.querySelectorAll(selector)];
    const at = items.indexOf(event.target);
    if (at < 0) return;
    const edge = { Home: 0, End: items.length - 1 }[event.key];
    const next = items[edge ?? at + (steps[event.key] ?? NaN)];
    if (!next) return;
    event.preventDefault();
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}

/** Make the first of some elements the tab stop, unless one of them is already. */
export function oneStop(items) {
  const stops = items.filter((item) => item.tabIndex === 0);
  for (const item of stops.slice(1)) item.tabIndex = -1;
  if (!stops.length && items.length) items[0].tabIndex = 0;
}
