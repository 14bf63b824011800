// The WebSocket: what comes, what is wanted, and coming back after it broke.
//
// `since` remembers the next `seq` of each source, so that no event is missed in between. A hidden
// tab asks for events only, and waits with a new connection until it is looked at.

import { ApiError, get, socketUrl } from "./page_api.js";

const FIRST_WAIT = 500; // ms
const LONGEST_WAIT = 10_000;
const SILENCE = 8000; // ms without anything (a heartbeat comes each second): it is dead

export class Socket {
  /**
   * `on` has status(answer), hello(message), message(message), picture(header, blob),
   * state("open" | "lost", why) and login().
   */
  constructor(on) {
    this.on = on;
    this.since = {};
    this.watch = {};
    this.socket = null;
    this.isOpen = false;
    this.tries = 0;
    this.timer = 0;
    this.silence = 0;
    this.heard = 0;
    document.addEventListener("visibilitychange", () => this.looked());
    window.addEventListener("online", () => this.again());
  }

  /** Say what is wanted; each call replaces the one before. */
  want(watch) {
    this.watch = watch;
    this.tell();
  }

  tell() {
    if (!this.isOpen) return;
    const watch = document.hidden ? { events: true } : this.watch;
    this.socket.send(JSON.stringify({ type: "watch", ...watch, since: this.since }));
  }

  /** Connect now, if there is no connection. */
  again() {
    clearTimeout(this.timer);
    if (!this.socket) this.connect();
  }

  async connect() {
    // A WebSocket that is refused does not say why; a request does.
    try {
      this.on.status(await get(["status"]));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return error.status === 401 ? this.on.login() : this.later(error.message);
    }
    if (this.socket) return;
    const socket = new WebSocket(socketUrl());
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onmessage = ({ data }) => this.take(data);
    socket.onclose = ({ code, reason }) => {
      if (this.socket !== socket) return;
      this.socket = null;
      this.isOpen = false;
      clearTimeout(this.silence);
      this.later(code === 1013 ? "This page was too slow." : reason);
    };
  }

  later(why) {
    this.on.state("lost", why);
    if (document.hidden) return; // `looked` goes on
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.tries);
    this.tries += 1;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.again(), wait * (0.75 + 0.5 * Math.random()));
  }

  looked() {
    if (document.hidden) {
      clearTimeout(this.timer);
      clearTimeout(this.silence);
      this.silence = 0;
    } else if (!this.socket) {
      this.again();
    } else this.listenFor(SILENCE);
    this.tell();
  }

  take(data) {
    this.heard = performance.now();
    if (data instanceof ArrayBuffer) return this.picture(data);
    const message = JSON.parse(data);
    if (message.type === "hello") {
      this.isOpen = true;
      this.tries = 0;
      this.on.hello(message);
      this.tell();
      this.on.state("open", "");
      if (!document.hidden) this.listenFor(SILENCE);
      return;
    }
    if (message.type === "event") {
      const { source, system_id: run, seq } = message.data;
      this.since[source] = [run, seq + 1];
    }
    this.on.message(message);
  }

  picture(buffer) {
    const length = new DataView(buffer).getUint32(0);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    this.on.picture(header, new Blob([new Uint8Array(buffer, 4 + length)], { type: "image/jpeg" }));
  }

  listenFor(ms) {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => {
      const quiet = performance.now() - this.heard;
      if (quiet < SILENCE) return this.listenFor(SILENCE - quiet + 50);
      const socket = this.socket;
      this.socket = null; // first: a cut cable takes minutes to say that it is closed
      this.isOpen = false;
      socket.close();
      this.later("Nothing comes any more.");
    }, ms);
  }
}
