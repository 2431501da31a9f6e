// One terminal's connection: nothing lost, nothing twice, whatever the network does. Knows no screen.
//
// Output counts in absolute byte offsets, input in bytes that the server took from this client. After a reconnect the
// server sends what lies beyond `since`, and we send what lies beyond its count.

/** Rendered bytes after which the server is told, well under the 1 MiB that it sends ahead. */
const ACK_BYTES = 128 * 1024;

/** Most input kept for a server that is away, in bytes. */
const INPUT_MAX = 4 * 1024 * 1024;

/** Longest input message, in bytes. */
const MESSAGE_MAX = 32 * 1024;

/** Silence after input that makes a connection suspect, in milliseconds. */
const SILENCE_MS = 15_000;

/** Longest wait for a connection to open, in milliseconds. */
const OPEN_MS = 10_000;

/** The server's word that the terminal is no more. */
const REMOVED = 4004;

const BACKOFF_MS = [250, 500, 1000, 2000, 4000, 8000];

export class Attach {
  /**
   * `url` is the attach address; `screen` has write(bytes, done), reset(), resize(cols, rows), which take effect in the
   * order in which they are called; `changed(state, detail)` hears of "open", "waiting", "ended", "removed". `gone()` says
   * whether the terminal is no more, since a browser does not tell why a handshake failed.
   */
  constructor(url, screen, changed, gone = async () => false) {
    this.url = url;
    this.screen = screen;
    this.changed = changed;
    this.gone = gone;
    this.client = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    this.seq = undefined;
    this.rendered = 0;
    this.acked = 0;
    this.redrawing = false;
    this.epoch = 0;
    this.queue = [];
    this.queued = 0;
    this.inputBase = 0;
    this.size = undefined;
    this.tries = 0;
    this.greeted = false;
    this.over = false;
    this.wake = () => this.hurry();
    addEventListener("online", this.wake);
    document.addEventListener("visibilitychange", this.wake);
  }

  connect() {
    if (this.over) return;
    clearTimeout(this.retry);
    const url = new URL(this.url, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("client", this.client);
    if (this.seq !== undefined) url.searchParams.set("since", this.seq);
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.greeted = false;
    this.watchdog = setTimeout(() => socket === this.socket && !this.greeted && this.lose(), OPEN_MS);
    socket.onmessage = (event) => socket === this.socket && this.receive(event.data);
    socket.onclose = (event) => socket === this.socket && this.lose(event);
  }

  /** Sends input, now or as soon as there is a connection; false when too much waits already. */
  input(bytes) {
    if (this.over || this.queued + bytes.length > INPUT_MAX) return false;
    for (let at = 0; at < bytes.length; at += MESSAGE_MAX) {
      const part = bytes.subarray(at, at + MESSAGE_MAX);
      this.queue.push(part);
      this.queued += part.length;
      if (this.greeted) this.socket.send(part);
    }
    if (this.greeted) this.suspect();
    return true;
  }

  resize(cols, rows) {
    this.size = { cols, rows };
    if (this.greeted && !this.redrawing) this.say({ type: "resize", cols, rows });
  }

  close() {
    this.over = true;
    removeEventListener("online", this.wake);
    document.removeEventListener("visibilitychange", this.wake);
    clearTimeout(this.retry);
    clearTimeout(this.watchdog);
    clearTimeout(this.silence);
    clearTimeout(this.ackTimer);
    this.socket?.close();
  }

  /** Tries again at once instead of at the end of the pause. */
  hurry() {
    if (this.over || document.hidden || this.socket) return;
    this.connect();
  }

  receive(data) {
    clearTimeout(this.silence);
    if (typeof data !== "string") return this.output(new Uint8Array(data));
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (message.type === "hello") this.hello(message);
    else if (message.type === "live") this.live(message.seq);
    else if (message.type === "ack") this.taken(message.input);
    else if (message.type === "resize") this.screen.resize(message.cols, message.rows);
    else if (message.type === "exit") this.end(message.status);
  }

  hello(message) {
    clearTimeout(this.watchdog);
    this.greeted = true;
    this.tries = 0;
    this.redrawing = message.redraw;
    if (message.redraw) {
      // The redraw was made for the size that the terminal has there; ours follows it.
      this.screen.reset();
      this.screen.resize(message.cols, message.rows);
    }
    if (message.redraw || this.seq === undefined) this.restart(message.seq);
    this.taken(message.input);
    if (!this.redrawing) this.claimSize();
    for (const bytes of this.queue) this.socket.send(bytes);
    if (this.queued) this.suspect();
    this.changed("open", message.title);
  }

  /** Output counts from here; what is still being drawn from before does not. */
  restart(seq) {
    this.epoch += 1;
    this.seq = seq;
    this.rendered = seq;
    this.acked = seq;
  }

  live(seq) {
    this.redrawing = false;
    this.restart(seq);
    this.claimSize();
  }

  /** Gives the terminal the size that it has on this page. */
  claimSize() {
    if (!this.size) return;
    this.screen.resize(this.size.cols, this.size.rows);
    this.say({ type: "resize", ...this.size });
  }

  output(bytes) {
    if (this.redrawing) return this.screen.write(bytes, () => undefined);
    const { epoch } = this;
    this.seq += bytes.length;
    this.screen.write(bytes, () => {
      if (epoch !== this.epoch) return;
      this.rendered += bytes.length;
      if (this.rendered - this.acked >= ACK_BYTES) this.acknowledge();
      else this.ackTimer ??= setTimeout(() => this.acknowledge(), 1000);
    });
  }

  acknowledge() {
    clearTimeout(this.ackTimer);
    this.ackTimer = undefined;
    if (!this.greeted || this.rendered === this.acked) return;
    this.acked = this.rendered;
    this.say({ type: "ack", seq: this.acked });
  }

  /** Forgets the input that the server has; what it never counted stays to be sent again. */
  taken(count) {
    let drop = count - this.inputBase;
    this.inputBase = count;
    while (drop > 0 && this.queue.length) {
      const first = this.queue[0];
      const part = Math.min(drop, first.length);
      drop -= part;
      this.queued -= part;
      if (part === first.length) this.queue.shift();
      else this.queue[0] = first.subarray(part);
    }
  }

  /** Input without any answer for long means that the connection is dead although nobody said so. */
  suspect() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.lose(), SILENCE_MS);
  }

  say(message) {
    this.socket.send(JSON.stringify(message));
  }

  end(status) {
    this.close();
    this.changed("ended", status);
  }

  remove() {
    if (this.over) return;
    this.close();
    this.changed("removed");
  }

  lose(event) {
    clearTimeout(this.watchdog);
    clearTimeout(this.silence);
    const { socket, greeted } = this;
    this.socket = undefined;
    this.greeted = false;
    // Half a redraw is no screen to go on from.
    if (this.redrawing) this.seq = undefined;
    this.redrawing = false;
    socket?.close();
    if (this.over) return;
    if (event?.code === REMOVED) return this.remove();
    if (event && !greeted) this.gone().then((gone) => gone && this.remove(), () => undefined);
    const pause = BACKOFF_MS[Math.min(this.tries, BACKOFF_MS.length - 1)] * (0.7 + Math.random() * 0.6);
    this.tries += 1;
    this.changed("waiting", { tries: this.tries, code: event?.code });
    this.retry = setTimeout(() => this.connect(), pause);
  }
}
