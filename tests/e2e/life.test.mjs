// A codespace falls asleep and wakes, as its owner lives through it: what keeps it awake, the warning, the stopped page, one click.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { becomes, eventually } from './harness/eventually.mjs';
import { Gateway, freePort } from './harness/gateway.mjs';
import { repository } from './harness/repositories.mjs';
import * as vscode from './harness/vscode.mjs';

/** Forty idle "minutes" are forty seconds: an agent tells of activity every fifteen. */
const CONFIG = '[codespaces]\nidle_minute = "1s"\nwarning = "30s"\n';
const IDLE = 40;
const PATIENCE = { timeout: 300_000, seconds: 300 };

async function world(t, config = CONFIG) {
  const gateway = await Gateway.start(t, { config });
  const ada = await gateway.user('ada', { admin: true });
  const make = (files) => gateway.codespace(ada.token, repository(t, files), { idle_timeout_minutes: 240 });
  const tire = (name) => gateway.call(ada.token, 'PATCH', `/codespaces/${name}`, { idle_timeout_minutes: IDLE });
  const state = async (name) => (await gateway.call(ada.token, 'GET', `/codespaces/${name}`)).state;
  const starts = async (name) => (await gateway.call(ada.token, 'GET', `/audit?event=codespace.started&codespace=${name}`)).length;
  const stop = async (name) => {
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/stop`, {});
    await eventually('it is stopped', async () => (await state(name)) === 'stopped');
  };
  return { gateway, ada, make, tire, state, starts, stop };
}

/** Keeps what a page looks like: light, dark, and on a phone. */
async function shots(page, shot, name) {
  await shot(page, `${name}-light`);
  await page.emulateMedia({ colorScheme: 'dark' });
  await shot(page, `${name}-dark`);
  await page.emulateMedia({ colorScheme: 'light' });
  const before = page.viewportSize();
  await page.setViewportSize({ width: 390, height: 780 });
  await shot(page, `${name}-phone`);
  await page.setViewportSize(before);
}

test('a silent tab lets it sleep, a printing terminal does not, and one click wakes it with all that was there', async (t) => {
  const { gateway, ada, make, tire, state, starts } = await world(t);
  const [quiet, busy] = await Promise.all([make({ 'notes.txt': 'first\n' }), make({ 'loop.txt': 'x\n' })]);
  await gateway.call(ada.token, 'POST', `/codespaces/${busy.name}/terminals`, { cols: 80, rows: 24, command: ['sh', '-c', 'while :; do date; sleep 2; done'] });
  await gateway.exec(ada.token, quiet.name, ['sh', '-c', 'echo draft > draft.txt']);

  const { person, shot } = await browser(t);
  const context = await person();
  const page = await context.newPage();
  await signIn(page, gateway, ada);
  const tab = await context.newPage();
  await tab.goto(gateway.urlOf(quiet.name));
  await vscode.workbench(tab);
  await page.goto(`${gateway.origin}/codespaces/${quiet.name}`);

  // The warning, and the button that puts it off.
  await Promise.all([tire(quiet.name), tire(busy.name)]);
  const warning = page.getByTestId('stops-soon');
  await warning.waitFor(PATIENCE);
  const before = (await gateway.call(ada.token, 'GET', `/codespaces/${quiet.name}/activity`)).stops_at;
  await page.getByTestId('keep').click();
  await warning.waitFor({ state: 'detached' });
  const after = await gateway.call(ada.token, 'GET', `/codespaces/${quiet.name}/activity`);
  assert.ok(Date.parse(after.stops_at) > Date.parse(before), `${before} ${after.stops_at}`);
  // Now there is time to look at it: nothing has to be done before it stops.
  await warning.waitFor(PATIENCE);
  await shots(page, shot, '60-stops-soon');

  // Nobody does anything any more. The tab is open all the while.
  await eventually('the quiet one stops', async () => (await state(quiet.name)) === 'stopped', PATIENCE);
  const stopped = await gateway.call(ada.token, 'GET', `/codespaces/${quiet.name}`);
  assert.equal(stopped.stopped_because, `nobody used it for ${IDLE} minutes`);
  const awake = await gateway.call(ada.token, 'GET', `/codespaces/${busy.name}`);
  assert.equal(awake.state, 'running');
  assert.ok(awake.awake_because.includes('output in a terminal'), JSON.stringify(awake.awake_because));

  // The tab tries to come back: that wakes nothing. Twice the time that a reconnecting editor waits between two tries.
  await tab.waitForTimeout(10_000);
  assert.deepEqual([await state(quiet.name), await starts(quiet.name)], ['stopped', 0]);

  // A link on another site leads to the stopped page; one click there wakes it.
  await page.goto(`${gateway.origin}/`);
  await page.evaluate((url) => location.assign(url), gateway.urlOf(quiet.name));
  const wake = page.getByTestId('wake');
  await wake.waitFor();
  assert.equal(await page.locator('h1').textContent(), 'This codespace is stopped');
  await shots(page, shot, '61-stopped');
  assert.equal(await state(quiet.name), 'stopped');
  await wake.click();
  // On a slow machine it may be up before its page is.
  await page.locator('[data-page="codespace-starting"], .monaco-workbench').first().waitFor();
  await shot(page, '62-starting');
  await vscode.workbench(page);
  // The editor adds the folder that it shows.
  assert.ok(page.url().startsWith(gateway.urlOf(quiet.name)), page.url());
  const draft = await gateway.exec(ada.token, quiet.name, ['cat', 'draft.txt']);
  assert.equal(draft.stdout, 'draft\n');
  await becomes(() => starts(quiet.name), 1);
});

test('a URL that is typed wakes it and becomes the page that was asked for', async (t) => {
  const { gateway, ada, make, state, starts, stop } = await world(t);
  const { name } = await make({ 'index.html': '<title>Hello</title><h1>hello</h1>\n' });
  const port = await freePort();
  await gateway.call(ada.token, 'PATCH', `/codespaces/${name}/ports/${port}`, { label: 'site' });
  await stop(name);
  const { person, shot } = await browser(t);
  const page = await (await person()).newPage();
  await signIn(page, gateway, ada);
  const url = `${gateway.urlOf(name, port)}index.html?a=b`;

  // The first time it passes the sign-in of that host, and is the person's own step all the same.
  await page.goto(url);
  await eventually('it runs', async () => (await state(name)) === 'running', PATIENCE);
  await becomes(() => starts(name), 1);
  // It is up, its server is not: the page says so, and becomes the app.
  await page.locator('[data-page="nothing-listens"]').waitFor(PATIENCE);
  await shot(page, '63-nothing-listens');
  await gateway.serveInside(ada.token, name, ['python3', '-m', 'http.server', '--bind', '127.0.0.1', String(port)], port);
  await page.getByRole('heading', { name: 'hello' }).waitFor(PATIENCE);
  assert.equal(page.url(), url);

  // Its page reloading itself wakes nothing; the button on it does.
  await stop(name);
  await page.evaluate(() => setTimeout(() => location.reload(), 100));
  await page.getByTestId('wake').waitFor();
  assert.deepEqual([await state(name), await starts(name)], ['stopped', 1]);
  await page.getByTestId('wake').click();
  await eventually('it is woken', async () => (await starts(name)) === 2);
  await eventually('it runs again', async () => (await state(name)) === 'running', PATIENCE);

  // A page that waits tells in place that it stopped meanwhile, and wakes nothing by looking.
  await stop(name);
  await page.getByRole('heading', { name: 'This codespace is stopped' }).waitFor(PATIENCE);
  await page.waitForTimeout(7_000);
  assert.deepEqual([await state(name), await starts(name)], ['stopped', 2]);

  // From the list of codespaces.
  await page.goto(`${gateway.origin}/`);
  await page.getByTestId('start').click();
  await eventually('it is started', async () => (await starts(name)) === 3);
  await eventually('it runs from the list', async () => (await state(name)) === 'running', PATIENCE);
});

test('a lease ends with its process, and is seen and ended on the page', async (t) => {
  const { gateway, ada, make } = await world(t);
  const { name } = await make({ 'a.txt': 'a\n' });
  const activity = () => gateway.call(ada.token, 'GET', `/codespaces/${name}/activity`);
  const leases = async (count) => eventually(`there are ${count} leases`, async () => (await activity()).leases.length === count);
  const ran = await gateway.exec(ada.token, name, ['portico', 'keepalive', '--max', '2h', '--', 'sh', '-c', 'exit 7'], { status: 7 });
  assert.equal(ran.stdout, '', ran.stderr);
  await leases(0);
  await gateway.exec(ada.token, name, ['sh', '-c', 'sleep 1000 >/dev/null 2>&1 & portico keepalive --pid $! --max 6h']);
  await leases(1);
  const { leases: [held], awake_because } = await activity();
  assert.equal(held.what, 'sleep');
  assert.equal(awake_because[0], `sleep (process ${held.pid}) keeps it awake`);
  const { person, shot } = await browser(t);
  const page = await (await person()).newPage();
  await signIn(page, gateway, ada, `/codespaces/${name}`);
  await page.getByTestId('lease').waitFor();
  await shots(page, shot, '64-lease');
  await page.getByTestId('end-lease').click();
  await leases(0);
  await gateway.exec(ada.token, name, ['kill', '-0', String(held.pid)]);
  await gateway.exec(ada.token, name, ['portico', 'keepalive', '--pid', String(held.pid)]);
  await leases(1);
  await gateway.exec(ada.token, name, ['kill', String(held.pid)]);
  await leases(0);
  const refused = await gateway.exec(ada.token, name, ['portico', 'keepalive', '--pid', '1'], { status: null });
  assert.match(refused.stderr, /no process of this codespace/);
});

test('reloading the editor of one that stopped wakes it, and the tab is where it was', async (t) => {
  const { gateway, ada, make, state, starts, stop } = await world(t);
  const { name } = await make({ 'notes.txt': 'first\n', 'deep/inside.txt': 'within\n' });
  const { person, shot } = await browser(t);
  const tab = await (await person()).newPage();
  await signIn(tab, gateway, ada);
  const folder = (await gateway.exec(ada.token, name, ['pwd'])).stdout.trim();
  const url = `${gateway.urlOf(name)}?folder=${folder}/deep`;
  await tab.goto(url);
  await vscode.workbench(tab);
  await stop(name);
  // What the tab shows while it is woken, as it is seen first.
  const seen = [];
  tab.on('framenavigated', (frame) => frame === tab.mainFrame() && seen.push(frame.url()));
  await tab.reload();
  const steps = tab.locator('[data-page="codespace-starting"], [data-page="editor-starting"]').first();
  await tab.locator('[data-page="codespace-starting"], [data-page="editor-starting"], .monaco-workbench').first().waitFor();
  if (await steps.isVisible()) await shot(tab, '65-reloaded');
  await vscode.workbench(tab);
  assert.equal(tab.url(), url);
  assert.ok(seen.every((at) => at === url), seen.join('\n'));
  await tab.locator('.explorer-folders-view').getByText('inside.txt').waitFor();
  assert.deepEqual([await state(name), await starts(name)], ['running', 1]);
});

test('one that has run for as long as it may is stopped, however busy, and the page says all of it', async (t) => {
  const { gateway, ada, make, state } = await world(t, '[codespaces]\nmax_lifetime = "1m"\nwarning = "30s"\n');
  const { name } = await make({ 'notes.txt': 'first\n' });
  await gateway.call(ada.token, 'POST', `/codespaces/${name}/terminals`, { cols: 80, rows: 24, command: ['sh', '-c', 'while :; do date; sleep 2; done'] });
  const { person, shot } = await browser(t);
  const page = await (await person()).newPage();
  await signIn(page, gateway, ada, `/codespaces/${name}`);
  const fact = (term) => page.locator('.facts div').filter({ has: page.locator('dt', { hasText: term }) }).locator('dd');
  await eventually('it is awake because of that terminal', async () => (await gateway.call(ada.token, 'GET', `/codespaces/${name}/activity`)).awake_because.includes('output in a terminal'));
  await page.reload();
  await fact('Awake because').filter({ hasText: 'output in a terminal' }).waitFor();
  await fact('Stops by itself, whatever happens').waitFor();
  await shots(page, shot, '66-awake');
  const soon = page.getByTestId('stops-soon');
  await soon.filter({ hasText: 'It has run for as long as the operator of this gateway lets one run' }).waitFor(PATIENCE);
  assert.equal(await page.getByTestId('keep').count(), 0, 'nothing puts that off');
  await shot(page, '67-stops-anyway');
  await eventually('it stops', async () => (await state(name)) === 'stopped', PATIENCE);
  const { stopped_because } = await gateway.call(ada.token, 'GET', `/codespaces/${name}`);
  assert.match(stopped_because, /^it ran for as long as the operator lets one run/);
  await page.getByText(`Stopped: ${stopped_because}`).waitFor();
  await shots(page, shot, '68-stopped-because');
  // It can be started again at once.
  await gateway.call(ada.token, 'POST', `/codespaces/${name}/start`);
  await eventually('it runs', async () => (await state(name)) === 'running', PATIENCE);
});
