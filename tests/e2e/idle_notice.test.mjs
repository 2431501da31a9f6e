// A codespace is about to stop, and somebody has VS Code open: it says so there, one click puts it off, and what is left says why.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { eventually } from './harness/eventually.mjs';
import { Gateway } from './harness/gateway.mjs';
import { repository } from './harness/repositories.mjs';
import * as vscode from './harness/vscode.mjs';

/** Forty idle "minutes" are forty seconds, and twenty before that people are warned. */
const CONFIG = '[codespaces]\nidle_minute = "1s"\nwarning = "20s"\n';
const IDLE = 40;
const PATIENCE = { timeout: 300_000, seconds: 300 };

const KEPT = '“Keep it awake” was pressed in the editor';
const EDITOR = 'use of the editor';

test('VS Code says that its codespace is about to stop, and one click there keeps it awake', async (t) => {
  const gateway = await Gateway.start(t, { config: CONFIG });
  const ada = await gateway.user('ada', { admin: true });
  const { name } = await gateway.codespace(ada.token, repository(t, { 'notes.txt': 'first\n' }), { idle_timeout_minutes: 240 });
  const activity = () => gateway.call(ada.token, 'GET', `/codespaces/${name}/activity`);
  const state = async () => (await activity()).state;
  const { person, shot } = await browser(t);
  const page = await (await person()).newPage();
  await signIn(page, gateway, ada);
  await page.goto(gateway.urlOf(name));
  await vscode.workbench(page);
  await vscode.open(page, 'notes.txt');
  const notices = page.locator('.notification-toast');
  const notice = notices.filter({ hasText: 'This codespace stops' });
  const keep = notice.getByRole('button', { name: 'Keep it awake' });
  assert.equal(await notice.count(), 0);

  await t.test('it is said while nothing happens, and a click puts it off', async () => {
    await gateway.call(ada.token, 'PATCH', `/codespaces/${name}`, { idle_timeout_minutes: IDLE });
    await keep.waitFor(PATIENCE);
    const before = await activity();
    assert.equal(before.stops_soon, true);
    assert.match(await notice.innerText(), /This codespace stops within a minute, because nothing was typed or run in it\. Your files are kept/);
    assert.equal(await notice.getByRole('link', { name: 'Dashboard' }).count(), 1);
    await shot(page, '66-idle-notice');
    await keep.click();
    await notice.waitFor({ state: 'detached' });
    const after = await eventually('the gateway knows', async () => {
      const now = await activity();
      return now.awake_because.includes(KEPT) && now;
    });
    assert.deepEqual([after.state, after.stops_soon], ['running', false]);
    assert.ok(Date.parse(after.stops_at) > Date.parse(before.stops_at), `${before.stops_at} ${after.stops_at}`);
    assert.equal(await notices.count(), 0);
  });

  await t.test('typing takes it away as well', async () => {
    await keep.waitFor(PATIENCE);
    await eventually('the notice goes', async () => {
      await vscode.replace(page, `${'typed '.repeat(300)}${Date.now()}\n`);
      return (await notice.count()) === 0;
    });
    assert.equal(await state(), 'running');
  });

  await t.test('the notice itself is no use: without a click it stops, and the tab says why and what to do', async () => {
    await keep.waitFor(PATIENCE);
    const { awake_because: why, stops_at: at } = await activity();
    const stopped = await eventually('it stops', async () => {
      const now = await activity();
      assert.ok(now.state !== 'running' || now.stops_at === at, `it was put off: ${now.awake_because} after ${why}`);
      return now.state === 'stopped' && now;
    }, PATIENCE).catch((error) => { throw Object.assign(error, { fatal: true }); });
    assert.equal(stopped.stopped_because, `nobody used it for ${IDLE} minutes`);
    const last = notices.filter({ hasText: 'Codespace stopped: nobody used it. Reload to start it.' });
    await last.waitFor();
    assert.equal(await last.getByRole('button', { name: 'Keep it awake' }).count(), 0);
    // It stays while the editor tries to come back, which says nothing by itself: longer than it waits between two tries.
    await page.waitForTimeout(10_000);
    await shot(page, '67-idle-stopped');
    assert.equal(await state(), 'stopped');
    await gateway.call(ada.token, 'PATCH', `/codespaces/${name}`, { idle_timeout_minutes: 240 });
    await last.getByRole('link', { name: 'Reload to start it' }).click();
    await eventually('it is started', async () => (await state()) === 'running', PATIENCE);
    await vscode.workbench(page);
    assert.equal(await notices.filter({ hasText: /codespace/i }).count(), 0);
  });

  await t.test('what says it came with the editor, and what a person installed is theirs alone', async () => {
    const listed = await gateway.exec(ada.token, name, ['sh', '-c', 'cat ~/.local/share/code-server/extensions/extensions.json']);
    assert.deepEqual(JSON.parse(listed.stdout).map((entry) => entry.identifier.id), ['portico.codespace']);
    await page.keyboard.press('Control+Shift+X');
    await page.locator('.extensions-viewlet').first().waitFor(PATIENCE);
    await shot(page, '68-extensions');
  });

  await t.test('whoever stops it takes it away: nothing says that nobody used it', async () => {
    await gateway.call(ada.token, 'PATCH', `/codespaces/${name}`, { idle_timeout_minutes: IDLE });
    await keep.waitFor(PATIENCE);
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/stop`);
    await notice.waitFor({ state: 'detached' });
    await eventually('it is stopped', async () => (await state()) === 'stopped', PATIENCE);
    assert.equal(await notices.filter({ hasText: /nobody used it|Keep it awake/ }).count(), 0);
  });
});
