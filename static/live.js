// The codespaces as they are now: server-sent events, and polling wherever those do not get through.

/** Between two looks while events do not flow, in milliseconds. */
const POLL_MS = 4000;

/** Until the next try after the event stream was refused, in milliseconds. */
const RETRY_MS = 15_000;

export class Live {
  constructor(call, base) {
    this.call = call;
    this.base = base;
    this.codespaces = new Map();
    this.loaded = false;
    this.problem = undefined;
    this.listeners = new Set();
  }

  start() {
    this.listen();
    this.refresh();
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
    return this;
  }

  /** Calls `listener` after each change; answers how to stop that. */
  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Asks for everything anew. */
  async refresh() {
    try {
      const list = await this.call("GET", "/codespaces");
      this.codespaces = new Map(list.map((codespace) => [codespace.name, codespace]));
      this.loaded = true;
      this.problem = undefined;
    } catch (problem) {
      this.problem = problem;
    }
    this.tell();
  }

  /** Takes in what an answer or an event says of one codespace. */
  put(codespace) {
    if (!codespace?.name) return;
    this.codespaces.set(codespace.name, codespace);
    this.tell();
  }

  drop(name) {
    this.codespaces.delete(name);
    this.tell();
  }

  tell() {
    for (const listener of this.listeners) listener();
  }

  listen() {
    const events = new EventSource(`${this.base}/events`);
    events.addEventListener("open", () => {
      this.poll(false);
      this.refresh();
    });
    events.addEventListener("codespace", (event) => this.put(JSON.parse(event.data)));
    events.addEventListener("removed", (event) => this.drop(JSON.parse(event.data).name));
    events.addEventListener("error", () => {
      this.poll(true);
      if (events.readyState === EventSource.CLOSED) setTimeout(() => this.listen(), RETRY_MS);
    });
  }

  poll(on) {
    clearInterval(this.timer);
    this.timer = on ? setInterval(() => document.hidden || this.refresh(), POLL_MS) : undefined;
  }
}
