// Requests to the HTTP API. A refusal is an `ApiError` with one line to show.

const ROOT = new URL("api/", document.baseURI);

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Return the URL of a route, each part of it escaped. */
export function url(...parts) {
  return new URL(parts.map(encodeURIComponent).join("/"), ROOT);
}

/** Return the URL of the WebSocket. */
export function socketUrl() {
  const place = url("ws");
  place.protocol = place.protocol === "https:" ? "wss:" : "ws:";
  return place;
}

/**
 * Return the JSON of a route; `query` may hold arrays, empty values are left out.
 * Throws ApiError, with status 0 where nobody answers.
 */
export async function get(parts, query = {}, signal = undefined) {
  const place = url(...parts);
  for (const [key, value] of Object.entries(query)) {
    for (const one of [value].flat()) {
      if (one !== "" && one !== null && one !== undefined) place.searchParams.append(key, one);
    }
  }
  return ask(place, { signal });
}

/** Send JSON with POST. */
export function post(parts, body) {
  const headers = { "Content-Type": "application/json" };
  return ask(url(...parts), { method: "POST", headers, body: JSON.stringify(body) });
}

/** Send DELETE. */
export function remove(parts) {
  const headers = { "Content-Type": "application/json" };
  return ask(url(...parts), { method: "DELETE", headers });
}

async function ask(place, options) {
  let answer;
  try {
    answer = await fetch(place, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "Playspot does not answer.");
  }
  const text = await answer.text();
  let body = null;
  try {
    body = text ? JSON.parse(text) : null;
  } catch {
    body = null; // a proxy's page
  }
  if (answer.ok) return body;
  throw new ApiError(answer.status, body?.error ?? `Playspot answers ${answer.status}.`);
}
