// What an owner limits and an administrator closes, as people meet it: on the pages, and at the port itself.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { eventually } from './harness/eventually.mjs';
import { Gateway, freePort } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

const PHONE = { width: 360, height: 740 };
const DESK = { width: 1280, height: 800 };

async function fits(page, what) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, `${what} is ${wide} px too wide`);
}

async function onAPhone(page, look) {
  await page.setViewportSize(PHONE);
  await page.emulateMedia({ colorScheme: 'dark' });
  await look();
  await page.setViewportSize(DESK);
  await page.emulateMedia({ colorScheme: 'light' });
}

test('limits of a port, and what is closed', async (t) => {
  const config = '[sharing]\nabuse_contact = "mailto:abuse@example.com"\n';
  const gateway = await Gateway.start(t, { editor: false, config });
  const ada = await gateway.user('ada', { admin: true });
  const bob = await gateway.user('bob');
  const git = await serveRepositories(t, { project: repository(t, { 'notes.txt': 'first\n' }) });
  const codespace = await gateway.codespace(bob.token, `${git}/project`, { editor: false });
  const port = await freePort();
  await gateway.serveInside(bob.token, codespace.name, [process.execPath, '-e', `require('http').createServer((q, s) => q.url === '/endless' ? s.write('begin') : s.end('hi')).listen(${port}, '127.0.0.1')`], port);
  const { url } = await gateway.listed(bob.token, codespace.name, port);
  const { person, shot } = await browser(t);
  const bobs = await person();
  const page = await bobs.newPage();
  const row = page.locator(`[data-testid=port-row][data-port="${port}"]`);
  const ask = (headers = {}) => gateway.request({ host: new URL(url).host, headers });
  const listed = () => gateway.listed(bob.token, codespace.name, port);

  await t.test('an owner limits a port on its page, and takes the limits away', async () => {
    await signIn(page, gateway, bob);
    await page.goto(`${gateway.origin}/codespaces/${codespace.name}`);
    await row.getByTestId('port-more').click();
    await row.getByText('Limits', { exact: true }).click();
    await row.getByTestId('port-limit-rate').fill('1');
    await row.getByTestId('port-limit-body').fill('1.5');
    await row.getByTestId('port-limit-addresses').fill('127.0.0.0/8, ::1, nonsense');
    await shot(page, 'sharing-01-limits');
    await onAPhone(page, async () => {
      await fits(page, 'the limits of a port');
      await row.scrollIntoViewIfNeeded();
      await shot(page, 'sharing-02-limits-phone');
    });
    await row.getByRole('button', { name: 'Save' }).click();
    await page.getByTestId('toast').getByText('10.0.0.0/8').waitFor();
    await row.getByTestId('port-limit-addresses').fill('127.0.0.0/8, ::1');
    await row.getByRole('button', { name: 'Save' }).click();
    await row.getByTestId('port-limits').waitFor();
    assert.match(await row.getByTestId('port-limits').innerText(), /1 request a second, bodies of 1\.5 MiB, clients from 127\.0\.0\.0\/8, ::1\/128/);
    assert.deepEqual((await listed()).limits, { requests_per_second: 1, body_bytes: 1_572_864, addresses: ['127.0.0.0/8', '::1/128'] });
    // The second of two navigations is told that it was too fast, and how that can be changed: it is his own.
    const visitor = await bobs.newPage();
    await visitor.goto(url);
    // However slow the browser is, somebody else of his is faster.
    let busy = true;
    const others = Promise.all(Array.from({ length: 4 }, async () => {
      while (busy) await ask({ 'x-portico-token': bob.token }).catch(() => {});
    }));
    await eventually('the rate is reached', async () => (await visitor.goto(url)).status() === 429);
    assert.match(await visitor.locator('main').innerText(), /a limit that you set: it takes at most 1 request a second.*portico ports limit \d+ --none/s);
    await shot(visitor, 'sharing-03-too-many');
    busy = false;
    await others;
    await visitor.close();
    await row.getByTestId('port-more').click();
    for (const field of ['rate', 'body', 'addresses']) await row.getByTestId(`port-limit-${field}`).fill('');
    await row.getByRole('button', { name: 'Save' }).click();
    await row.getByTestId('port-limits').waitFor({ state: 'detached' });
    assert.equal((await listed()).limits, null);
    // Who starts the codespace by visiting this port is the port's own matter, until that is taken back.
    await row.getByTestId('port-more').click();
    await row.getByTestId('port-woken-by').selectOption('everyone');
    await shot(page, 'sharing-04-woken-by');
    await row.getByRole('button', { name: 'Save' }).click();
    await row.getByTestId('port-wakers').filter({ hasText: 'links included' }).waitFor();
    assert.equal((await listed()).woken_by, 'everyone');
    await row.getByTestId('port-more').click();
    await row.getByTestId('port-woken-by').selectOption('');
    await row.getByRole('button', { name: 'Save' }).click();
    await row.getByTestId('port-wakers').waitFor({ state: 'detached' });
    assert.equal((await listed()).woken_by, null);
  });

  await t.test('an administrator closes a port by its address; its owner reads why; a restart changes nothing', async () => {
    const second = await freePort();
    await gateway.serveInside(bob.token, codespace.name, [process.execPath, '-e', `require('http').createServer((q, s) => s.end('second')).listen(${second}, '127.0.0.1')`], second);
    for (const number of [port, second]) await gateway.call(bob.token, 'PATCH', `/codespaces/${codespace.name}/ports/${number}`, { visibility: 'public' });
    const strangers = await person();
    // The page with the warning tells the other ports for so long and no longer; how long that takes here is no matter.
    await strangers.addInitScript(() => (AbortSignal.timeout = () => new AbortController().signal));
    const stranger = await strangers.newPage();
    await stranger.goto(url);
    assert.equal(await stranger.getByTestId('report-abuse').getAttribute('href'), 'mailto:abuse@example.com');
    await stranger.getByTestId('warning-continue').click();
    await stranger.getByText('hi', { exact: true }).waitFor();
    // Once for the codespace: its other public port opens without a warning, and each host has a cookie of its own.
    await stranger.goto((await gateway.listed(bob.token, codespace.name, second)).url);
    await stranger.getByText('second', { exact: true }).waitFor();
    const hosts = (await stranger.context().cookies()).filter(({ name }) => name === '__Host-portico_warned').map(({ domain }) => domain);
    assert.deepEqual(hosts.sort(), [port, second].map((number) => `${codespace.name}-${number}.codespaces.localhost`).sort());
    await stranger.goto(url);
    const open = stranger.evaluate(async () => {
      const reader = (await fetch('/endless')).body.getReader();
      await reader.read();
      window.begun = true;
      return reader.read().then(({ done }) => (done ? 'ended' : 'more'), () => 'cut');
    });
    await stranger.waitForFunction(() => window.begun);
    const admin = await (await person()).newPage();
    await signIn(admin, gateway, ada);
    await admin.goto(`${gateway.origin}/admin/sharing`);
    await admin.getByTestId('nothing-closed').waitFor();
    await admin.getByTestId('close-name').fill(`${url}login?next=/`);
    await admin.getByTestId('close-reason').fill('it asks for passwords');
    await shot(admin, 'sharing-04-admin');
    const before = Date.now();
    await admin.getByTestId('close-now').click();
    assert.ok(['cut', 'ended'].includes(await open));
    t.diagnostic(`cut ${Date.now() - before} ms after the click`);
    const closed = admin.locator(`[data-testid=closed-row][data-what="port:${codespace.name}:${port}"]`);
    await closed.waitFor();
    await onAPhone(admin, async () => {
      await fits(admin, 'what is closed');
      await shot(admin, 'sharing-05-admin-phone');
    });
    await row.getByTestId('port-closed').waitFor();
    assert.match(await row.getByTestId('port-closed').innerText(), /closed this port to everybody but you.*it asks for passwords.*ada/s);
    await shot(page, 'sharing-06-owner');
    await stranger.goto(url);
    await stranger.getByTestId('sign-in-name').waitFor();
    await gateway.kill9();
    await gateway.serve();
    assert.equal((await listed()).closed.reason, 'it asks for passwords');
    await eventually('its owner comes in', async () => (await ask({ 'x-portico-token': bob.token })).status === 200);
    assert.equal((await ask()).status, 401);
    await admin.reload();
    await closed.getByTestId('open-again').click();
    await admin.getByTestId('confirm').click();
    await admin.getByTestId('nothing-closed').waitFor();
    await eventually('it is open again', async () => (await ask()).status === 200);
    await row.getByTestId('port-closed').waitFor({ state: 'detached' });
  });
});
