// Ports of one codespace that work together, and what their owner, strangers and a restart make of what is shared.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { atSignIn, browser, signIn } from './harness/browser.mjs';
import { becomes, eventually } from './harness/eventually.mjs';
import { Gateway, freePort } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';
import * as vscode from './harness/vscode.mjs';

/** As three programs of a project are written for a laptop: the API believes its own front end alone. */
const PROJECT = `const http = require('http'), crypto = require('crypto');
const [front, api, live] = process.argv.slice(2).map(Number);
const url = (port) => process.env.VSCODE_PROXY_URI.replace('{{port}}', port).replace(/[/]$/, '');
const PAGE = () => \`<!doctype html><link rel="icon" href="data:,"><title>front</title><h1>The front end</h1><p id="api"></p><p id="live"></p><script>
fetch('\${url(api)}/items', { method: 'POST', credentials: 'include', headers: { 'content-type': 'application/json' }, body: '{"name":"tea"}' })
  .then((answer) => answer.json()).then(({ got }) => (api.textContent = 'api got ' + got), (error) => (api.textContent = 'api ' + error));
const socket = new WebSocket('\${url(live).replace('http', 'ws')}/live');
socket.onmessage = ({ data }) => (live.textContent = data);
socket.onclose = () => (live.textContent = 'closed');
</script>\`;
http.createServer((q, s) => s.setHeader('content-type', 'text/html').end(PAGE())).listen(front, '127.0.0.1');
http.createServer((q, s) => {
  const own = q.headers.origin === 'http://localhost:' + front;
  if (own) s.setHeader('access-control-allow-origin', q.headers.origin).setHeader('access-control-allow-credentials', 'true').setHeader('access-control-allow-headers', 'content-type');
  let body = '';
  q.on('data', (bytes) => (body += bytes)).on('end', () => s.writeHead(own ? 200 : 403, { 'content-type': 'application/json' }).end(q.method === 'POST' ? JSON.stringify({ got: JSON.parse(body).name }) : ''));
}).listen(api, '127.0.0.1');
http.createServer().on('upgrade', (q, s) => {
  const key = crypto.createHash('sha1').update(q.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
  s.write('HTTP/1.1 101 S\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: ' + key + '\\r\\n\\r\\n');
  s.write(Buffer.from([0x81, 4, ...Buffer.from('live')]));
  s.on('error', () => {});
}).listen(live, '127.0.0.1');`;

test('ports that work together', async (t) => {
  const gateway = await Gateway.start(t);
  const bob = await gateway.user('bob', { admin: true });
  const git = await serveRepositories(t, { project: repository(t, { 'project.cjs': PROJECT }) });
  const { name } = await gateway.codespace(bob.token, `${git}/project`);
  const [front, api, live] = [await freePort(), await freePort(), await freePort()];
  await gateway.serveInside(bob.token, name, [process.execPath, 'project.cjs', `${front}`, `${api}`, `${live}`], front);
  await Promise.all([api, live].map((port) => gateway.listed(bob.token, name, port)));
  const set = (port, what) => gateway.call(bob.token, 'PATCH', `/codespaces/${name}/ports/${port}`, what);
  const rows = async () => (await gateway.call(bob.token, 'GET', `/codespaces/${name}/ports`)).map(({ port, label, visibility, expires_at, links, host_header }) => ({ port, label, visibility, expires_at, links, host_header }));
  const { person, shot } = await browser(t);
  const works = (page, options) => page.waitForFunction(() => document.title === 'front' && globalThis.api.textContent === 'api got tea' && globalThis.live.textContent === 'live', undefined, options);
  // A sign-in waits for the ports beside its own only so long: on a busy machine the next page has them.
  const comesToWork = (page) =>
    eventually('it works', async () => {
      if (await works(page, { timeout: 20_000 }).then(() => true, () => false)) return true;
      await page.reload();
      return false;
    });
  const lives = (page, text) => page.waitForFunction((text) => globalThis.live.textContent === text, text);
  let owner;

  await t.test('a front end, its API and its socket, all private, after one sign-in', async () => {
    const context = await person();
    owner = await context.newPage();
    const seen = [];
    owner.on('framenavigated', (frame) => frame === owner.mainFrame() && seen.push(frame.url()));
    await owner.goto(gateway.urlOf(name, front));
    await atSignIn(owner, bob);
    await owner.waitForURL(gateway.urlOf(name, front));
    await owner.getByRole('heading', { name: 'The front end' }).waitFor();
    assert.ok(seen.length < 10, `it went round in circles: ${seen.join('\n')}`);
    await comesToWork(owner);
    assert.equal(owner.url(), gateway.urlOf(name, front));
    seen.length = 0;
    await owner.reload();
    await works(owner);
    assert.deepEqual(seen, [gateway.urlOf(name, front)], 'signed in is signed in');
    assert.deepEqual((await rows()).map(({ visibility }) => visibility), ['private', 'private', 'private']);
  });

  await t.test('a private port is previewed inside the real editor', async () => {
    const editor = await owner.context().newPage();
    await editor.goto(gateway.urlOf(name), { waitUntil: 'commit' });
    await vscode.workbench(editor);
    const input = editor.locator('.quick-input-widget input').first();
    const command = editor.locator('.quick-input-list .monaco-list-row').filter({ hasText: 'Simple Browser: Show' }).first();
    const found = () => editor.frames().find((frame) => frame.url().startsWith(gateway.urlOf(name, front)));
    // Keys count once the workbench listens, and the command is there once the extensions are.
    const asked = async () => {
      if (!(await input.isVisible())) await editor.keyboard.press('F1');
      await input.fill('>Simple Browser: Show', { timeout: 5000 });
      if (await command.click({ timeout: 5000 }).then(() => true, () => false)) return true;
      await editor.keyboard.press('Escape');
      return false;
    };
    const preview = await eventually('the preview is there', async () => {
      if (found()) return found();
      await eventually('the editor has a preview', asked);
      await eventually('it asks for an address', async () => (await input.inputValue({ timeout: 5000 })) === '', { seconds: 20 });
      await input.fill(gateway.urlOf(name, front), { timeout: 5000 });
      await editor.keyboard.press('Enter');
      return eventually('it is drawn', found, { seconds: 20 });
    });
    await works(preview);
    await shot(editor, 'siblings-01-preview');
    await editor.close();
  });

  await t.test('a deadline cuts a stranger off, and not the owner', async () => {
    for (const port of [api, live]) await set(port, { visibility: 'public' });
    await set(front, { visibility: 'public' });
    const stranger = await (await person()).newPage();
    await stranger.goto(gateway.urlOf(name, front));
    await stranger.getByTestId('warning-continue').click();
    await lives(stranger, 'live');
    await lives(owner, 'live');
    await set(live, { visibility: 'public', expires_at: new Date(Date.now() + 10_000).toISOString() });
    await lives(stranger, 'closed');
    assert.equal(await owner.locator('#live').innerText(), 'live');
    await stranger.close();
  });

  await t.test('an owner whom the browser does not know yet is one sign-in away from no warning', async () => {
    const page = await (await person()).newPage();
    await signIn(page, gateway, bob);
    await page.goto(gateway.urlOf(name, front));
    await page.getByTestId('warning-own').click();
    await page.waitForURL(gateway.urlOf(name, front));
    await page.getByRole('heading', { name: 'The front end' }).waitFor();
    await comesToWork(page);
    assert.equal(page.url(), gateway.urlOf(name, front));
    await page.context().close();
  });

  await t.test('a restart in the middle keeps what was set, and who was let in', async () => {
    await set(front, { label: 'The shop' });
    await set(api, { visibility: 'org', expires_at: new Date(Date.now() + 86_400_000).toISOString() });
    const link = await gateway.call(bob.token, 'POST', `/codespaces/${name}/ports/${front}/links`, { name: 'for Kim' });
    gateway.keepSecret('share link', link.url.split('/').pop());
    const visitor = await (await person()).newPage();
    await visitor.goto(link.url);
    await visitor.getByTestId('share-open').click();
    await visitor.getByRole('heading', { name: 'The front end' }).waitFor();
    const before = await rows();
    await gateway.kill9();
    await gateway.serve();
    await gateway.ready(bob.token, name);
    await Promise.all([front, api, live].map((port) => gateway.listed(bob.token, name, port)));
    await becomes(rows, before);
    await visitor.reload();
    await visitor.getByRole('heading', { name: 'The front end' }).waitFor();
    await owner.reload();
    await owner.waitForURL(gateway.urlOf(name, front));
    await comesToWork(owner);
    assert.equal(owner.url(), gateway.urlOf(name, front));
  });
});
