// A terminal's client, as the page's: it counts what it saw and asks for the rest after a reconnect.
import { eventually } from './eventually.mjs';
import { keep } from './hygiene.mjs';
import { websocket } from './http.mjs';

export class Terminal {
  /** Attaches to a terminal that is there. */
  constructor(gateway, token, codespace, id) {
    Object.assign(this, { gateway, token, codespace, id, client: `test-${process.pid}-${id}`, seen: '', seq: undefined, sent: 0, redraws: 0 });
  }

  async attach() {
    this.hello = undefined;
    const since = this.seq === undefined ? '' : `since=${this.seq}&`;
    const path = `/api/v1/codespaces/${this.codespace}/terminals/${this.id}/attach?${since}client=${this.client}`;
    const onMessage = (data, binary) => (binary ? this.output(data) : this.control(JSON.parse(data.toString())));
    const answer = await websocket(this.gateway.port, { host: this.gateway.host, path, headers: { authorization: `Bearer ${this.token}` }, onMessage });
    if (answer.status !== 101) throw new Error(`attach answered ${answer.status}: ${answer.text}`);
    this.socket = answer.socket;
    this.closed = new Promise((done) => this.socket.on('close', done));
    this.socket.on('error', () => {});
    await eventually('the terminal says hello', () => this.hello);
    return this;
  }

  output(data) {
    this.seen += data.toString('latin1');
    if (!this.redrawing) this.seq += data.length;
  }

  control(message) {
    if (message.type === 'hello') {
      this.hello = message;
      this.redrawing = message.redraw;
      if (message.redraw) this.redraws += 1;
      if (!message.redraw) this.seq = message.seq;
    } else if (message.type === 'live') {
      this.redrawing = false;
      this.seq = message.seq;
    } else if (message.type === 'exit') {
      this.status = message.status;
    }
  }

  type(text) {
    this.sent += Buffer.byteLength(text);
    for (const line of text.split(/[\r\n]+/)) if (line.length >= 20) keep('typed text', line);
    this.socket.send(Buffer.from(text));
  }

  /** Waits until the output holds a text. */
  async sees(text, options) {
    await eventually(`the terminal shows ${JSON.stringify(text)}; it shows ${JSON.stringify(this.seen.slice(-300))}`, () => this.seen.includes(text), options);
  }

  /** Ends the connection as a lost network does. */
  async drop() {
    this.socket.terminate();
    await this.closed;
  }
}
