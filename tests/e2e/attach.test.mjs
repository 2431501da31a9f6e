// The page's end of a terminal, against a server that drops connections at every moment: nothing lost, nothing twice.
import assert from 'node:assert/strict';
import { test } from 'node:test';

/** A repeatable source of chance. */
function chance(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** The agent's end, in memory: absolute output, input counted for each client, sockets that die when told to. */
class Server {
  output = [];
  kept = 0;
  typed = [];
  sockets = new Set();

  attach(socket, since) {
    this.sockets.add(socket);
    const gone = since === undefined || since < this.kept;
    socket.send_({ type: 'hello', seq: gone ? this.output.length : since, input: this.typed.length, cols: 80, rows: 24, redraw: gone });
    if (gone) socket.send_(Uint8Array.from(this.output));
    if (gone) socket.send_({ type: 'live', seq: this.output.length });
    else socket.send_(Uint8Array.from(this.output.slice(since)));
  }

  print(bytes) {
    this.output.push(...bytes);
    for (const socket of this.sockets) socket.send_(Uint8Array.from(bytes));
  }
}

function world() {
  const server = new Server();
  globalThis.location = { href: 'http://portico.localhost:8080/' };
  globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
  globalThis.addEventListener = () => {};
  globalThis.removeEventListener = () => {};
  globalThis.WebSocket = class {
    constructor(url) {
      this.since = new URL(url).searchParams.get('since') ?? undefined;
      this.toPage = [];
      this.toServer = [];
    }
    open() {
      server.attach(this, this.since === undefined ? undefined : Number(this.since));
    }
    send_(message) {
      this.toPage.push(message);
    }
    send(message) {
      this.toServer.push(message);
    }
    /** Delivers what is under way: `page` messages to the page, `server` ones to the server. */
    deliver(page, server_) {
      for (const message of this.toPage.splice(0, page)) this.onmessage({ data: message instanceof Uint8Array ? message.buffer : JSON.stringify(message) });
      for (const message of this.toServer.splice(0, server_)) if (typeof message !== 'string') server.typed.push(...message);
    }
    die() {
      server.sockets.delete(this);
      this.onclose({ code: 1006 });
    }
    close() {
      server.sockets.delete(this);
    }
  };
  return server;
}

/** A terminal that only remembers bytes. */
class Screen {
  shown = [];
  write(bytes, done) {
    this.shown.push(...bytes);
    done();
  }
  reset() {
    this.shown = [];
  }
  resize() {}
}

test('a terminal loses and doubles nothing, whenever its connection dies', async () => {
  const server = world();
  const { Attach } = await import('../../static/attach.js');
  for (let seed = 1; seed <= 200; seed += 1) {
    const pick = chance(seed);
    Object.assign(server, new Server());
    const screen = new Screen();
    const attach = new Attach('/attach', screen, () => {});
    const typed = [];
    attach.connect();
    attach.socket.open();
    for (let turn = 0; turn < 60; turn += 1) {
      const some = Array.from({ length: 1 + pick(20) }, () => pick(256));
      const act = pick(6);
      if (act === 0) server.print(some);
      else if (act === 1) attach.input(Uint8Array.from(some)), typed.push(...some);
      else if (act === 2 && attach.socket) attach.socket.deliver(pick(4), pick(4));
      else if (act === 3 && attach.socket) attach.socket.die();
      else if (act === 4) server.kept = pick(server.output.length + 1);
      if (!attach.socket) attach.connect(), attach.socket.open();
    }
    if (!attach.greeted) attach.socket.die(), attach.connect(), attach.socket.open();
    attach.socket.deliver(1000, 1000);
    attach.socket.deliver(1000, 1000);
    assert.deepEqual(screen.shown, server.output, `output of seed ${seed}`);
    assert.deepEqual(server.typed, typed, `input of seed ${seed}`);
    attach.close();
  }
});

test('more input than anybody types is refused, not half sent', async () => {
  world();
  const { Attach } = await import('../../static/attach.js');
  const attach = new Attach('/attach', new Screen(), () => {});
  assert.equal(attach.input(new Uint8Array(5 * 1024 * 1024)), false);
  assert.equal(attach.queued, 0);
  attach.close();
});
