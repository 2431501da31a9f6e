// Share links as people meet them: made in the dashboard and on the command line, opened on a phone, ended one by one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { eventually } from './harness/eventually.mjs';
import { Gateway, freePort } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

const PHONE = { width: 360, height: 740 };
const APP = (port) => `const http = require('http');
http.createServer((q, s) => {
  s.setHeader('content-type', 'text/html');
  s.end('<title>shop</title><h1>The shop</h1><script>const w = new WebSocket("ws://" + location.host + "/live"); w.onclose = () => document.title = "closed"; w.onopen = () => document.title = "live";</script>');
}).on('upgrade', (q, s) => {
  const key = require('crypto').createHash('sha1').update(q.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
  s.write('HTTP/1.1 101 S\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: ' + key + '\\r\\n\\r\\n');
  s.on('error', () => {});
}).listen(${port}, '127.0.0.1')`;

async function fits(page, what) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, `${what} is ${wide} px too wide`);
}

test('share links', async (t) => {
  const gateway = await Gateway.start(t, { editor: false });
  const bob = await gateway.user('bob', { admin: true });
  const git = await serveRepositories(t, { project: repository(t, { 'notes.txt': 'first\n' }) });
  const { name } = await gateway.codespace(bob.token, `${git}/project`, { editor: false });
  const port = await freePort();
  await gateway.serveInside(bob.token, name, [process.execPath, '-e', APP(port)], port);
  await gateway.call(bob.token, 'PATCH', `/codespaces/${name}/ports/${port}`, { label: 'The shop' });
  const { person, shot } = await browser(t);
  const owner = await (await person()).newPage();
  await signIn(owner, gateway, bob);
  const phone = await person({ viewport: PHONE, colorScheme: 'dark', isMobile: true, hasTouch: true, deviceScaleFactor: 2 });
  const visitor = await phone.newPage();
  const cli = (...words) => gateway.command(['ports', ...words, '-c', name], { token: bob.token });
  let made;

  await t.test('the dashboard makes one, with a QR code', async () => {
    await owner.goto(`${gateway.origin}/codespaces/${name}`);
    const row = owner.locator(`[data-testid=port-row][data-port="${port}"]`);
    await row.getByTestId('port-links').click();
    await owner.getByTestId('link-name').fill('for Kim');
    await owner.getByText('Password, uses, path').click();
    await owner.getByTestId('link-password').fill('open sesame');
    await shot(owner, 'links-01-dialog');
    await owner.getByTestId('link-create').click();
    made = await owner.getByTestId('link-url').innerText();
    gateway.keepSecret('share link', made.split('/').pop());
    assert.ok(await owner.getByTestId('link-qr').evaluate((image) => image.decode().then(() => image.naturalWidth > 0)));
    assert.equal(await owner.getByTestId('link-row').getAttribute('data-state'), 'open');
    await shot(owner, 'links-02-made');
    await owner.setViewportSize(PHONE);
    await owner.emulateMedia({ colorScheme: 'dark' });
    await fits(owner, 'the dialog');
    await shot(owner, 'links-03-made-phone');
    await owner.setViewportSize({ width: 1280, height: 800 });
    await owner.emulateMedia({ colorScheme: 'light' });
    await owner.getByTestId('links-close').click();
    await row.getByTestId('port-link-count').waitFor();
  });

  await t.test('somebody without an account opens it on a phone', async () => {
    await visitor.goto(made);
    await visitor.getByTestId('share-password').waitFor();
    await fits(visitor, 'the page');
    await shot(visitor, 'links-04-page');
    await visitor.getByTestId('share-password').fill('sesame');
    await visitor.keyboard.press('Enter');
    await visitor.getByText('not the password').waitFor();
    await fits(visitor, 'the page');
    await shot(visitor, 'links-05-wrong');
    await visitor.getByTestId('share-password').fill('open sesame');
    await visitor.getByTestId('share-open').click();
    await visitor.getByText('The shop').waitFor();
    await visitor.waitForFunction(() => document.title === 'live');
    assert.equal(new URL(visitor.url()).pathname, '/');
  });

  await t.test('it opens nothing else', async () => {
    const other = await phone.newPage();
    const answer = await other.goto(`${gateway.urlOf(name)}`);
    assert.equal(new URL(answer.url()).host, gateway.host, 'the editor asks to sign in');
    await other.close();
  });

  await t.test('a restart changes nothing', async () => {
    await gateway.kill9();
    await gateway.serve();
    await eventually('the agent is back', async () => (await gateway.listed(bob.token, name, port)).listening);
    await visitor.reload();
    await visitor.waitForFunction(() => document.title === 'live');
  });

  await t.test('the command line makes, lists and revokes', async () => {
    const { stdout } = await cli('share', String(port), '--for', '2h', '--uses', '1', '--name', 'short');
    const url = stdout.trim();
    gateway.keepSecret('share link', url.split('/').pop());
    const second = await (await person({ viewport: PHONE })).newPage();
    await second.goto(url);
    await second.getByTestId('share-open').click();
    await second.waitForFunction(() => document.title === 'live');
    const third = await (await person({ viewport: PHONE })).newPage();
    await third.goto(url);
    await third.getByText('This link is used up').waitFor();
    await shot(third, 'links-06-used-up');
    const listed = (await cli('links', '--all')).stdout.trim().split('\n').map((line) => line.split('\t'));
    assert.deepEqual(listed.map((cells) => [cells[2], cells[4], cells[6]]), [['used-up', '1/1', 'short'], ['open', '1', 'for Kim']]);
    await cli('unshare', listed[0][0]);
    await second.waitForFunction(() => document.title === 'closed');
    assert.equal(await visitor.title(), 'live', 'the other link goes on');
    await second.reload();
    await second.getByText('This link was revoked').waitFor();
    await fits(second, 'the page');
    await shot(second, 'links-07-revoked');
    const short = (await cli('share', String(port), '--for', '1s')).stdout.trim();
    gateway.keepSecret('share link', short.split('/').pop());
    // By the browser, which knows names under localhost where the machine does not.
    await eventually('it expires', async () => (await third.goto(short)).status() === 410);
    await third.getByText('This link has expired').waitFor();
    await third.emulateMedia({ colorScheme: 'dark' });
    await shot(third, 'links-08-expired');
  });

  await t.test('the dashboard revokes, and what is open ends', async () => {
    const row = owner.locator(`[data-testid=port-row][data-port="${port}"]`);
    await row.getByTestId('port-links').click();
    await shot(owner, 'links-09-list');
    await owner.getByTestId('link-revoke').click();
    await visitor.waitForFunction(() => document.title === 'closed');
    await owner.locator('[data-testid=link-row][data-state=open]').waitFor({ state: 'detached' });
  });

  await t.test('a program calls a webhook link without a sign-in', async () => {
    const url = new URL((await cli('share', String(port), '--webhook', '--path', '/hooks')).stdout.trim());
    gateway.keepSecret('webhook link', url.pathname.split('/')[3]);
    assert.equal((await gateway.request({ host: url.host, method: 'POST', path: `${url.pathname}/made?x=1` })).status, 200);
  });
});
