// Behind nginx, Caddy and Traefik with the files of config/, the gateway's own among them: sign-in, a private port, sockets,
// events, uploads, addresses.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import http from 'node:http';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { eventually } from './harness/eventually.mjs';
import { Gateway, freePort } from './harness/gateway.mjs';
import { visit } from './harness/matrix.mjs';
import * as proxies from './harness/proxies.mjs';
import { repository } from './harness/repositories.mjs';

const APP = path.resolve(import.meta.dirname, 'fixtures/app.mjs');
/** As it is; names, port and directory are said on the command line, which goes before it. */
const CONFIG = readFileSync(path.resolve(import.meta.dirname, '../../config/behind-proxy.toml'), 'utf8');
const MAKE_CA = path.resolve(import.meta.dirname, '../../certs/make-local-ca');
const MIB = 1024 ** 2;

for (const kind of proxies.PROXIES) {
  test(`behind ${kind}`, async (t) => {
    const directory = mkdtempSync('/tmp/px-');
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    execFileSync(MAKE_CA, [path.join(directory, 'ca')]);
    const listen = await proxies.ports();
    const gateway = await Gateway.start(t, { editor: false, config: CONFIG, url: `https://portico.localhost:${listen.tls}` });
    const [certificate, key] = ['portico.pem', 'portico.key'].map((file) => path.join(directory, 'ca', file));
    await proxies.start(t, kind, { directory, listen, gateway: gateway.port, certificate, key });

    const ada = await gateway.user('ada', { admin: true });
    const { name } = await gateway.codespace(ada.token, repository(t), { editor: false });
    const port = await freePort();
    await gateway.serveInside(ada.token, name, [process.execPath, APP, `${port}`], port);
    const url = `https://${name}-${port}.codespaces.localhost:${listen.tls}/`;

    const { person } = await browser(t);
    const page = await (await person({ ignoreHTTPSErrors: true })).newPage();
    await signIn(page, gateway, ada);
    await visit(page, url);
    const answer = await page.reload();
    assert.equal(page.url(), url, 'signed in on the port, at its clean URL');
    assert.equal(answer.status(), 200);
    assert.match(await page.content(), /Hello from the codespace/);

    // Odd paths arrive as they were sent (PATH-3).
    // Traefik makes `&` of a `;` in a query, whatever it is told.
    const target = kind === 'traefik' ? '/echo?a=%2F&b//c' : '/echo?a=%2F;b//c';
    const echoed = await page.evaluate(async (target) => (await fetch(target, { headers: { 'x-forwarded-for': '6.6.6.6', forwarded: 'for=6.6.6.6', 'x-real-ip': '6.6.6.6' } })).json(), target);
    assert.equal(echoed.url, target);
    const headers = {};
    for (let at = 0; at < echoed.headers.length; at += 2) headers[echoed.headers[at].toLowerCase()] = echoed.headers[at + 1];
    assert.equal(headers['x-forwarded-for'], '127.0.0.1', 'what the browser made up under that name is gone');
    assert.equal(headers.forwarded, 'for=127.0.0.1');
    assert.equal(headers['x-real-ip'], undefined);
    assert.equal(headers.host, `localhost:${port}`);
    const odd = await page.evaluate(async () => (await fetch('/x%2Fy/a%20b//c')).status);
    assert.equal(odd, 200, 'the path reaches the app');

    const socket = await page.evaluate(
      () =>
        new Promise((done, fail) => {
          const open = new WebSocket('/socket');
          open.onopen = () => open.send('through');
          open.onmessage = ({ data }) => done(data instanceof Blob ? data.text() : data);
          open.onerror = () => fail(new Error('the WebSocket failed'));
        }),
    );
    assert.equal(socket, 'through');

    // Each event arrives before the next is made: nothing on the way waits for more.
    const words = await page.evaluate(async () => {
      const events = new EventSource('/events');
      const next = () => new Promise((done) => events.addEventListener('message', ({ data }) => done(data), { once: true }));
      const got = [await next()];
      for (const word of ['one', 'two']) {
        const event = next();
        await fetch(`/poke?word=${word}`);
        got.push(await event);
      }
      events.close();
      return got;
    });
    assert.deepEqual(words, ['welcome', 'one', 'two']);

    const bytes = 64 * MIB;
    const uploaded = await page.evaluate(async (bytes) => (await fetch('/upload', { method: 'POST', body: new Uint8Array(bytes) })).json(), bytes);
    assert.equal(uploaded.bytes, bytes);

    // Plain HTTP is sent to https once.
    const plain = await new Promise((done, fail) => {
      http.get({ host: '127.0.0.1', port: listen.plain, path: '/a?b', headers: { host: `portico.localhost:${listen.plain}` } }, done).on('error', fail);
    });
    assert.ok([301, 308].includes(plain.statusCode), `${plain.statusCode}`);
    assert.match(plain.headers.location, /^https:\/\/portico\.localhost(:\d+)?\/a\?b$/);

    // A client elsewhere, as the proxy would tell of one: its address is the one in the log.
    await gateway.request({ path: '/healthz', headers: { 'x-forwarded-for': '6.6.6.6, 192.0.2.7', 'x-forwarded-proto': 'https' } });
    await eventually('the log tells the client', () => /"client":"192\.0\.2\.7"/.test(gateway.log()));
    const loop = await gateway.request({ path: '/sign-in', headers: { 'x-forwarded-for': '192.0.2.7', 'x-forwarded-proto': 'http' } });
    assert.equal(loop.status, 308);
    assert.equal(loop.headers.location, `https://portico.localhost:${listen.tls}/sign-in`);
  });
}
