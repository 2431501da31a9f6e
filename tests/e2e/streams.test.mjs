// Bytes pass as they come: events one by one, bodies of any size in flat memory, both directions half-closed.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { eventually } from './harness/eventually.mjs';
import { Gateway, freePort } from './harness/gateway.mjs';
import { request, websocket } from './harness/http.mjs';
import { memory } from './harness/processes.mjs';
import { repository } from './harness/repositories.mjs';

const APP = path.resolve(import.meta.dirname, 'fixtures/app.mjs');
const GIB = 1024 ** 3;
const CHUNK = Buffer.alloc(256 * 1024, 'portico ');
/** What gateway and agent together may grow while gigabytes pass, in MiB: pipe and socket buffers, allocator slack. */
const FLAT = 48;

test('an app behind its port', async (t) => {
  const gateway = await Gateway.start(t, { editor: false });
  const { token } = await gateway.user('ada', { admin: true });
  const { name } = await gateway.codespace(token, repository(t), { editor: false });
  const port = await freePort();
  await gateway.serveInside(token, name, [process.execPath, APP, `${port}`], port);
  const host = gateway.hostOf(name, port);
  const headers = { 'x-portico-token': token };

  await t.test('server-sent events arrive one by one', async () => {
    const { response } = await request(gateway.port, { host, path: '/events', headers, stream: true });
    const next = async () => (await once(response, 'data'))[0].toString();
    assert.equal(await next(), 'data: welcome\n\n');
    for (const word of ['one', 'two', 'three']) {
      const event = next();
      assert.equal((await request(gateway.port, { host, path: `/poke?word=${word}`, headers })).text, '1');
      assert.equal(await event, `data: ${word}\n\n`);
    }
    response.destroy();
    await eventually('the app learns that its reader left', async () => (await request(gateway.port, { host, path: '/poke?word=late', headers })).text === '0');
  });

  await t.test('a WebSocket echoes', async () => {
    const { status, socket } = await websocket(gateway.port, { host, path: '/socket', headers });
    assert.equal(status, 101);
    for (const size of [0, 1, 125, 126, 65_535, 65_536, 2_000_000]) {
      const sent = Buffer.alloc(size, size % 251);
      socket.send(sent);
      const [received] = await once(socket, 'message');
      assert.ok(sent.equals(received), `${size} bytes come back`);
    }
    socket.close();
  });

  await t.test('2 GiB up and 2 GiB down in flat memory', async () => {
    const [agent] = gateway.agents();
    assert.ok(agent, 'the agent runs');
    const before = memory(gateway.process.pid).now + memory(agent).now;

    const hash = createHash('sha256');
    const body = Readable.from(
      (function* () {
        for (let sent = 0; sent < 2 * GIB; sent += CHUNK.length) {
          hash.update(CHUNK);
          yield CHUNK;
        }
      })(),
    );
    const up = await request(gateway.port, { host, method: 'POST', path: '/upload', headers, body });
    assert.deepEqual(up.json, { bytes: 2 * GIB, sha256: hash.digest('hex') });

    const { response } = await request(gateway.port, { host, path: `/download?bytes=${2 * GIB}`, headers, stream: true });
    assert.equal(Number(response.headers['content-length']), 2 * GIB);
    let received = 0;
    for await (const chunk of response) received += chunk.length;
    assert.equal(received, 2 * GIB);

    const after = memory(gateway.process.pid).peak + memory(agent).peak;
    t.diagnostic(`resident: ${before.toFixed(1)} MiB before, ${after.toFixed(1)} MiB at the highest`);
    assert.ok(after - before < FLAT, `memory grew by ${(after - before).toFixed(1)} MiB`);
  });

  await t.test('a WebSocket upgrade that the app answers with 200 is said in words', async () => {
    const answer = await websocket(gateway.port, { host, path: '/', headers });
    assert.equal(answer.status, 502);
    assert.match(answer.headers['content-type'], /problem\+json/);
    assert.match(answer.text, /WebSocket/);
  });
});
