// What an app receives, byte for byte: no cookie, token or forwarding header that is ours or that a client made up.
import assert from 'node:assert/strict';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { eventually } from './harness/eventually.mjs';
import { Gateway, freePort } from './harness/gateway.mjs';
import { raw, websocket } from './harness/http.mjs';
import { repository } from './harness/repositories.mjs';

const CAPTURE = path.resolve(import.meta.dirname, 'fixtures/capture.mjs');
/** What a client may send to pass for somebody else. */
const FORGED = {
  'X-Forwarded-For': '198.51.100.7', 'X-Forwarded-Host': 'evil.example', 'X-Forwarded-Proto': 'gopher', 'X-Forwarded-Port': '6666',
  'X-Forwarded-Server': 'evil.example', 'X-Forwarded-Prefix': '/evil', 'X-Forwarded-Uri': '/evil', 'X-Forwarded-User': 'evil',
  Forwarded: 'for=198.51.100.7;host=evil.example;proto=gopher', 'X-Real-IP': '198.51.100.7', 'X-Original-URL': '/evil', 'X-Original-Host': 'evil.example',
  'X-Rewrite-URL': '/evil', 'True-Client-IP': '198.51.100.7', 'CF-Connecting-IP': '198.51.100.7', 'X-Portico-User': 'evil', Proxy: 'http://evil.example',
};

test('what reaches an app', async (t) => {
  const gateway = await Gateway.start(t, { editor: false });
  const ada = await gateway.user('ada', { admin: true });
  const { name } = await gateway.codespace(ada.token, repository(t), { editor: false });
  const port = await freePort();
  const file = path.join(gateway.data, 'captured');
  writeFileSync(file, '');
  await gateway.serveInside(ada.token, name, [process.execPath, CAPTURE, `${port}`, file], port);
  const host = gateway.hostOf(name, port);
  const captured = () => readFileSync(file, 'latin1');
  const fresh = () => truncateSync(file, 0);

  await t.test('from a browser, over HTTP and WebSocket', async () => {
    const context = await (await browser(t)).person();
    const page = await context.newPage();
    await signIn(page, gateway, ada);
    fresh();
    await page.goto(gateway.urlOf(name, port));
    await page.getByRole('heading', { name: 'Captured' }).waitFor();
    assert.equal(new URL(page.url()).pathname, '/', 'the address is clean');
    const heard = await page.evaluate(async (frame) => {
      document.cookie = 'app_cookie=kept; path=/';
      await fetch('/fetched', { method: 'POST', body: 'x', headers: { authorization: 'Bearer of-the-app' } });
      const socket = new WebSocket(`ws://${location.host}/socket`);
      socket.onopen = () => socket.send(frame);
      return new Promise((done, fail) => {
        socket.onmessage = (event) => done(event.data);
        socket.onerror = () => fail(new Error('the socket failed'));
      });
    }, gateway.keepSecret('text of a socket', 'canary-of-a-frame-0123'));
    assert.equal(heard, 'captured');
    const bytes = captured();
    const ours = (await context.cookies()).filter((cookie) => cookie.name.startsWith('__Host-portico'));
    assert.ok(ours.length >= 2, 'the browser holds cookies of ours');
    for (const { name: cookie, value } of ours) assert.ok(!bytes.includes(value) && !bytes.includes(cookie), `${cookie} reached the app`);
    assert.doesNotMatch(bytes, /portico_(session|access|nonce)|ticket/i);
    assert.match(bytes, /^POST \/fetched HTTP\/1\.1/m);
    assert.match(bytes, /GET \/socket HTTP\/1\.1\r/);
    assert.match(bytes, /app_cookie=kept/, "the app's own cookie passes");
    assert.match(bytes, /^authorization: Bearer of-the-app/im, "the app's own authorization passes");
    // Nothing of its page comes later, where nothing is to come.
    await context.close();
    assert.equal(hosts(bytes).join(), Array(hosts(bytes).length).fill(`localhost:${port}`).join(), 'the app sees the host it would see at home');
  });

  await t.test('from a program, with forged headers and cookies of our names', async () => {
    fresh();
    const forged = Object.entries(FORGED).map(([field, value]) => `${field}: ${value}\r\n`).join('');
    const cookies = 'Cookie: a=1; __Host-portico_session=stolen; b=2\r\nCookie: __Host-portico_access=stolen; __Host-portico_nonce_ABCDEFGH="stolen"; c=3\r\n';
    const answer = await raw(gateway.port, `GET /raw HTTP/1.1\r\nHost: ${host}\r\nX-Portico-Token: ${ada.token}\r\n${forged}${cookies}Connection: close\r\n\r\n`);
    assert.match(answer, /^HTTP\/1\.1 200 /);
    const { status, socket } = await websocket(gateway.port, { host, path: '/forged', headers: { ...FORGED, 'x-portico-token': ada.token, cookie: 'd=4; __Host-portico_access=stolen' } });
    assert.equal(status, 101);
    socket.terminate();
    await eventually('both arrived', () => /GET \/raw /.test(captured()) && /GET \/forged /.test(captured()));
    const bytes = captured();
    assert.doesNotMatch(bytes, /evil|gopher|198\.51\.100\.7|6666|stolen/i);
    assert.ok(!bytes.includes(ada.token), 'the token reached the app');
    assert.doesNotMatch(bytes, /x-portico|portico_/i);
    assert.match(bytes, /x-forwarded-for: 127\.0\.0\.1/i, 'the address is the one that we saw');
    for (const kept of ['a=1', 'b=2', 'c=3', 'd=4']) assert.ok(bytes.includes(kept), `${kept} is the app's`);
  });

  await t.test('requests that two servers would read differently never arrive', async () => {
    fresh();
    const head = `Host: ${host}\r\nX-Portico-Token: ${ada.token}\r\n`;
    for (const bytes of [
      `GET /x HTTP/1.1\r\n${head}Host: ${host}\r\n\r\n`,
      `GET /x HTTP/1.1\r\nX-Portico-Token: ${ada.token}\r\n\r\n`,
      `POST /x HTTP/1.1\r\n${head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`,
      `POST /x HTTP/1.1\r\n${head}Content-Length: +1\r\n\r\na`,
      `POST /x HTTP/1.1\r\n${head}Transfer-Encoding: gzip, chunked, identity\r\n\r\n0\r\n\r\n`,
      `GET /x HTTP/1.1\r\n${head}X_Forwarded_For: 1.2.3.4\r\n\r\n`,
      `GET /x HTTP/1.1\r\n${head}Connection: cookie\r\n\r\n`,
      `CONNECT ${host} HTTP/1.1\r\n${head}\r\n`,
      `TRACE /x HTTP/1.1\r\n${head}\r\n`,
      `GET /x\\y HTTP/1.1\r\n${head}\r\n`,
    ]) {
      const answer = await raw(gateway.port, bytes);
      assert.match(answer, /^HTTP\/1\.[01] (400|405|421|501) /, `${bytes.slice(0, 200)}\n→ ${answer.slice(0, 200)}`);
    }
    // The last frame of a socket that was cut before may still come.
    assert.doesNotMatch(captured(), /HTTP\/|x-portico|host:/i);
  });
});

function hosts(bytes) {
  return [...bytes.matchAll(/^host: (.*)\r$/gim)].map((found) => found[1]);
}
