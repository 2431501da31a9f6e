// The operator lowers how far anything may be shared, while the gateway runs: seen before, effective at once, kept.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { becomes, eventually } from './harness/eventually.mjs';
import { Gateway, freePort } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

const APP = (port) => `const http = require('http');
http.createServer((q, s) => {
  s.setHeader('content-type', 'text/html');
  s.end('<title>shop</title><script>const w = new WebSocket("ws://" + location.host + "/live"); w.onclose = () => document.title = "closed"; w.onopen = () => document.title = "live";</script>');
}).on('upgrade', (q, s) => {
  const key = require('crypto').createHash('sha1').update(q.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
  s.write('HTTP/1.1 101 S\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: ' + key + '\\r\\n\\r\\n');
  s.on('error', () => {});
}).listen(${port}, '127.0.0.1')`;

test('SHARE-3 SHARE-6 the ceiling on sharing', async (t) => {
  const gateway = await Gateway.start(t, { editor: false, config: '[sharing]\nlinks = true\n' });
  const ada = await gateway.user('ada', { admin: true });
  const bob = await gateway.user('bob');
  const git = await serveRepositories(t, { project: repository(t, { 'notes.txt': 'first\n' }) });
  const { name } = await gateway.codespace(bob.token, `${git}/project`, { editor: false });
  const port = await freePort();
  await gateway.serveInside(bob.token, name, [process.execPath, '-e', APP(port)], port);
  const set = async (visibility) => gateway.call(bob.token, 'PATCH', `/codespaces/${name}/ports/${port}`, { visibility });
  const visibility = async () => (await gateway.listed(bob.token, name, port)).visibility;
  const link = await gateway.call(bob.token, 'POST', `/codespaces/${name}/ports/${port}/links`, { name: 'for Kim' });
  gateway.keepSecret('share link', link.url.split('/').pop());
  const ceiling = (...words) => gateway.command(['ceiling', ...words], { token: ada.token });

  const { person, shot } = await browser(t);
  const stranger = await (await person({ extraHTTPHeaders: { 'X-Portico-Skip-Warning': '1' } })).newPage();
  const live = async (page, title = 'live') => page.waitForFunction((title) => document.title === title, title);
  const comes = async () => {
    await stranger.goto(gateway.urlOf(name, port));
    await live(stranger);
  };
  const owner = await (await person()).newPage();
  await signIn(owner, gateway, bob);
  await owner.goto(gateway.urlOf(name, port));
  await live(owner);
  await set('public');
  await comes();

  await t.test('a dry run lists what it would close, and closes nothing', async () => {
    const { stdout, stderr } = await ceiling('set', 'org', '--dry-run');
    assert.deepEqual(stdout.trim().split('\n').map((line) => line.split('\t')), [[name, 'bob', `${port}`, 'public', 'org'], [name, 'bob', `${port}`, `link ${link.id} (for Kim)`, 'closed']]);
    assert.match(stderr, /It would close 2 shares\. Nothing is changed\./);
    assert.equal(await stranger.title(), 'live');
    assert.equal((await gateway.api(bob.token, 'PUT', '/ceilings', { max_visibility: 'org' })).status, 403, 'a member sets none');
  });

  await t.test('the page shows the same list before its button', async () => {
    const page = await (await person()).newPage();
    await signIn(page, gateway, ada);
    await page.goto(`${gateway.origin}/admin/sharing`);
    await page.getByLabel('Ports are at most').selectOption('org');
    await shot(page, 'ceiling-01-page');
    await page.getByTestId('ceiling-preview').click();
    await page.getByTestId('closes').waitFor();
    assert.equal(await page.getByTestId('closes').locator('li').count(), 2);
    await shot(page, 'ceiling-02-list');
    await page.setViewportSize({ width: 360, height: 740 });
    await page.emulateMedia({ colorScheme: 'dark' });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(wide <= 0, `the page is ${wide} px too wide`);
    await shot(page, 'ceiling-03-phone');
    assert.equal(await stranger.title(), 'live');
    await page.getByTestId('confirm').click();
    await page.getByTestId('toast').first().waitFor();
    await live(stranger, 'closed');
    assert.equal(await owner.title(), 'live', 'the owner stays');
    assert.equal(await visibility(), 'org');
    await page.locator('[data-testid=ceiling][data-source=set]').waitFor();
    await shot(page, 'ceiling-04-set');
  });

  await t.test('it survives a restart, and is taken back', async () => {
    await gateway.kill9();
    await gateway.serve();
    await gateway.listed(bob.token, name, port);
    assert.equal(await visibility(), 'org');
    assert.equal((await gateway.api(bob.token, 'PATCH', `/codespaces/${name}/ports/${port}`, { visibility: 'public' })).status, 403);
    await ceiling('set', 'public');
    assert.equal(await visibility(), 'public', 'what was set is open again');
    await comes();
  });

  await t.test('the configuration is read again at SIGHUP; a mistake in it changes nothing', async () => {
    const file = path.join(gateway.data, 'portico.toml');
    const reread = async (text, words) => {
      writeFileSync(file, text);
      const before = gateway.output.length;
      gateway.process.kill('SIGHUP');
      await eventually('it is read', () => gateway.output.slice(before).includes(words));
    };
    await reread('[sharing]\nmax_visibilty = "private"\n', 'Did you mean');
    assert.equal(await visibility(), 'public');
    assert.equal(await stranger.title(), 'live');
    await reread('[sharing]\nmax_visibility = "private"\n', 'was read again');
    await live(stranger, 'closed');
    assert.equal(await visibility(), 'private');
    const rows = (await ceiling()).stdout.trim().split('\n').map((line) => line.split('\t'));
    assert.deepEqual(rows, [['everybody', 'private', 'yes', 'configuration']]);
    const events = async () => (await gateway.call(ada.token, 'GET', '/audit?event=ceiling.changed')).map(({ actor, target, detail }) => [actor, target, detail]);
    await becomes(events, [['', 'configuration', 'private, links; closed 2'], ['ada', '', 'public, links; closed 0'], ['ada', '', 'org, links; closed 2']]);
  });
});
