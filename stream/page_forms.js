// The forms: log in, add a source, remove one. An error is one line below the fields.

import { ApiError, post, remove } from "./page_api.js";
import { byId, say } from "./page_dom.js";

/** Let the dialogs close by their buttons, and by a click beside them. */
export function closeByButton() {
  for (const dialog of document.querySelectorAll("dialog")) {
    for (const button of dialog.querySelectorAll("[data-close]")) {
      button.addEventListener("click", () => dialog.close());
    }
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog && dialog.id !== "login") dialog.close();
    });
  }
}

/** Send a form by `send(fields)`; close its dialog, or show the error. */
function onSubmit(name, send, done) {
  const form = byId(`${name}-form`), dialog = byId(name);
  const error = form.querySelector(".error"), button = form.querySelector("[type=submit]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    say(error, "");
    button.disabled = true;
    try {
      const fields = Object.fromEntries(new FormData(form));
      const answer = await send(fields);
      dialog.close();
      done(fields, answer);
    } catch (problem) {
      if (!(problem instanceof ApiError)) throw problem;
      say(error, problem.message);
    } finally {
      button.disabled = false;
    }
  });
  return { form, dialog, error };
}

/** Return what opens the form that adds a source, with a URL filled in; `done()` after it was. */
export function addForm(done) {
  const { form, dialog, error } = onSubmit("adding", ({ url, name }) => post(["sources"], { name: name.trim(), url: url.trim() }), done);
  return (url = "") => {
    form.reset();
    say(error, "");
    form.elements.url.value = url;
    form.elements.name.value = url ? "bandstand" : "";
    dialog.showModal();
    form.elements[url ? "name" : "url"].select();
  };
}

/** Return what asks whether a source is to be removed; `done()` after it was. */
export function removeForm(done) {
  let source = "";
  const { dialog, error } = onSubmit("removing", () => remove(["sources", source]), () => done(source));
  return (name) => {
    source = name;
    say(error, "");
    say(byId("removing-name"), name);
    dialog.showModal();
  };
}

/** Return what asks for the token; `done()` after it was right. */
export function loginForm(done) {
  const { form, dialog } = onSubmit("login", ({ token }) => post(["login"], { token }), done);
  dialog.addEventListener("cancel", (event) => event.preventDefault()); // there is nothing behind it
  return () => {
    if (dialog.open) return;
    form.reset();
    dialog.showModal();
  };
}
