// The request log as an owner meets it: turned on, watched, sent again, copied; and nothing that a visitor sends is markup.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { eventually } from './harness/eventually.mjs';
import { Gateway, freePort } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

const PHONE = { width: 360, height: 740 };
const CANARY = 'C4N4RYC4N4RYC4N4RY00';
/** An app whose answers are hostile to whoever shows them, and which counts its orders. */
const APP = (port) => `let orders = 0; const http = require('http');
http.createServer((q, s) => {
  if (q.url === '/orders' && q.method === 'POST') { orders += 1; s.writeHead(201, { 'content-type': 'application/json', 'set-cookie': 'sid=${CANARY}' }); return q.resume().on('end', () => s.end(JSON.stringify({ orders, item: 'tea' }))); }
  if (q.url.startsWith('/gone')) { s.writeHead(404); return s.end(); }
  s.writeHead(200, { 'content-type': 'text/html', 'x-odd': '<img src=x onerror=document.title=1>' });
  s.end('<script>document.title = "owned"</script><b>\\u202eevil</b>');
}).listen(${port}, '127.0.0.1')`;

async function fits(page, what) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, `${what} is ${wide} px too wide`);
}

test('the request log of a port', async (t) => {
  const gateway = await Gateway.start(t, { editor: false });
  const bob = await gateway.user('bob', { admin: true });
  const eve = await gateway.user('eve');
  const git = await serveRepositories(t, { project: repository(t, { 'notes.txt': 'first\n' }) });
  const { name } = await gateway.codespace(bob.token, `${git}/project`, { editor: false });
  const port = await freePort();
  await gateway.serveInside(bob.token, name, [process.execPath, '-e', APP(port)], port);
  await gateway.call(bob.token, 'PATCH', `/codespaces/${name}/ports/${port}`, { label: 'The shop', visibility: 'public', users: ['eve'] });
  const { person, shot } = await browser(t);
  const owner = await (await person()).newPage();
  const faults = [];
  owner.on('pageerror', (error) => faults.push(String(error)));
  await signIn(owner, gateway, bob);
  const address = `${gateway.origin}/codespaces/${name}/log/${port}`;
  const app = (path, { token, ...more } = {}) =>
    gateway.request({ host: gateway.hostOf(name, port), path, ...more, headers: { ...(token && { 'x-portico-token': token }), ...more.headers } });
  const row = (path) => owner.getByTestId('log-row').filter({ hasText: path }).first();

  await t.test('off, it says what it would keep; a button turns it on', async () => {
    await owner.goto(`${gateway.origin}/codespaces/${name}`);
    await owner.getByTestId('port-log').click();
    await owner.waitForURL(address);
    await owner.getByTestId('log-on').waitFor();
    await shot(owner, 'log-01-off');
    await owner.getByTestId('log-on').click();
    await owner.getByTestId('log-off').waitFor();
    assert.match(await owner.getByTestId('log-state').innerText(), /On/);
    await shot(owner, 'log-02-empty');
  });

  await t.test('requests show up by themselves, and nothing in them is markup', async () => {
    await app('/', { token: bob.token });
    await app('/orders', { method: 'POST', token: bob.token, body: JSON.stringify({ item: 'tea', password: CANARY }), headers: { 'content-type': 'application/json', cookie: `sid=${CANARY}`, authorization: `Bearer ${CANARY}` } });
    await app('/gone?token=' + CANARY, { token: eve.token });
    await app(`/"onmouseover="document.title=1"?q='%3Cimg`, { headers: { 'user-agent': '<img src=x onerror=document.title=1>\u009b31m' } });
    await row('/orders').waitFor();
    await row('onmouseover').click();
    await owner.getByTestId('log-response').getByText('<script>').waitFor();
    assert.equal(await owner.locator('[data-testid=log-page] img, [data-testid=log-page] script').count(), 0);
    assert.match(await owner.title(), /^Request log of port/);
    assert.equal(await owner.evaluate(() => document.body.innerText.includes('\u202e')), false);
    await shot(owner, 'log-03-hostile');
    await row('/gone').click();
    await owner.getByTestId('log-title').getByText('token=REMOVED').waitFor();
    assert.equal((await owner.content()).includes(CANARY), false);
  });

  await t.test('what changes something is sent again after a question', async () => {
    await row('/orders').click();
    await owner.getByTestId('log-request').waitFor();
    assert.equal(await owner.getByTestId('log-replay').isDisabled(), true);
    await app('/orders', { method: 'POST', token: bob.token, body: JSON.stringify({ item: 'tea' }), headers: { 'content-type': 'application/json' } });
    const newest = owner.getByTestId('log-row').first();
    await eventually('the order is listed', async () => (await owner.getByTestId('log-row').count()) === 5);
    await newest.click();
    await owner.getByText('"orders": 2').waitFor();
    await owner.getByTestId('log-replay').click();
    await shot(owner, 'log-04-ask');
    await owner.getByTestId('log-confirm').click();
    await owner.getByText('"orders": 3').waitFor();
    await owner.getByText('Replay of', { exact: true }).waitFor();
    await shot(owner, 'log-05-replayed');
    assert.match(await owner.getByTestId('log-curl').textContent(), /^curl .*-X 'POST' '.*\/orders'/);
  });

  await t.test('arrows move through the list, and closing gives the focus back', async () => {
    await owner.getByTestId('log-row').first().focus();
    await owner.keyboard.press('ArrowDown');
    await owner.keyboard.press('Enter');
    const second = await owner.getByTestId('log-row').nth(1).getAttribute('data-id');
    await owner.getByTestId('log-title').waitFor();
    await owner.getByTestId('log-close').click();
    await eventually('the focus is back', async () => (await owner.evaluate(() => document.activeElement.dataset.id)) === second);
    await owner.getByTestId('log-filter').fill('404');
    await eventually('one is left', async () => (await owner.getByTestId('log-row').count()) === 1);
    await owner.getByTestId('log-filter').fill('');
  });

  await t.test('visits are told by kind, without the owner', async () => {
    const table = owner.getByTestId('log-visits');
    await table.getByText('eve 1').first().waitFor();
    await shot(owner, 'log-06-visits');
  });

  await t.test('it fits a phone, in the dark', async () => {
    await owner.setViewportSize(PHONE);
    await owner.emulateMedia({ colorScheme: 'dark' });
    await fits(owner, 'the list');
    await shot(owner, 'log-07-phone');
    await owner.getByTestId('log-row').first().click();
    await owner.getByTestId('log-request').waitFor();
    await fits(owner, 'one exchange');
    await shot(owner, 'log-08-phone-one');
    await owner.setViewportSize({ width: 1280, height: 900 });
    await shot(owner, 'log-09-dark');
    await owner.goto(`${gateway.origin}/codespaces/${name}`);
    await owner.getByTestId('port-log').waitFor();
    await shot(owner, 'log-10-row');
    await owner.emulateMedia({ colorScheme: 'light' });
  });

  await t.test('turned off, everything is gone', async () => {
    await owner.goto(address);
    await owner.getByTestId('log-off').click();
    await owner.getByTestId('log-on').waitFor();
    assert.deepEqual(await gateway.call(bob.token, 'GET', `/codespaces/${name}/ports/${port}/log`), []);
    assert.deepEqual(faults, []);
  });
});
