// A real engine whose disk is full: told in words to whoever needs it, nothing is lost, and all goes on once there is space.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { Engine, IMAGE, world } from './harness/engine.mjs';
import { eventually } from './harness/eventually.mjs';
import { Gateway } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

const FULL = /there is no space left on the disk/;

test('an engine whose disk is full', async (t) => {
  const engine = await Engine.start(t, { disk: 1024 });
  const config = `runtime = "docker"\n[docker]\nsocket = "${engine.socket}"\nimage = "${IMAGE}"\n`;
  const gateway = await Gateway.start(t, { editor: false, config });
  const ada = await gateway.user('ada', { admin: true });
  const git = await serveRepositories(t, { project: repository(t), other: repository(t) }, world(t));
  const view = (name) => gateway.call(ada.token, 'GET', `/codespaces/${name}`);
  const becomes = (name, state) => eventually(`${name} is ${state}`, async () => ((now) => now.state === state && now)(await view(name)));
  const inside = async (name, command, options) => gateway.exec(ada.token, name, ['bash', '-c', command], options);
  const { person, shot } = await browser(t);
  const page = await (await person()).newPage();
  await signIn(page, gateway, ada);
  const alert = page.getByRole('alert').filter({ hasText: 'It did not start.' });

  const { name } = await gateway.codespace(ada.token, `${git}/project`, { editor: false });
  await inside(name, 'echo kept > uncommitted.txt && sync uncommitted.txt');
  const free = engine.fill();
  let other;

  await t.test('what is to be made says so, to the page, to programs and on the command line', async () => {
    const made = await gateway.call(ada.token, 'POST', '/codespaces', { repository: `${git}/other` });
    other = made.name;
    const { reason, stopped_because: stopped } = await becomes(other, 'failed');
    assert.match(reason, FULL);
    assert.equal(stopped, reason);
    await page.goto(`${gateway.origin}/codespaces/${other}`);
    await alert.filter({ hasText: reason }).waitFor();
    await shot(page, 'trouble-engine-disk');
    const said = await gateway.command(['codespace', 'create', `${git}/other`], { token: ada.token, status: null });
    assert.notEqual(said.status, 0);
    assert.match(said.stderr, FULL);
  });

  await t.test('what runs goes on, with what it has', async () => {
    assert.equal((await inside(name, 'cat uncommitted.txt')).stdout.trim(), 'kept');
    const written = await inside(name, 'head -c 64M /dev/zero > more.bin', { status: null });
    assert.notEqual(written.status, 0);
    assert.match(`${written.stdout}${written.stderr}`, /No space left on device/);
    assert.equal((await view(name)).state, 'running');
  });

  await t.test('what is started says so, and keeps what it has', async () => {
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/stop`);
    await becomes(name, 'stopped');
    await gateway.api(ada.token, 'POST', `/codespaces/${name}/start`);
    assert.match((await becomes(name, 'failed')).reason, FULL);
    await page.goto(`${gateway.origin}/codespaces/${name}`);
    await alert.filter({ hasText: 'no space left on the disk' }).waitFor();
  });

  await t.test('once there is space, both start with all that they had', async () => {
    free();
    for (const one of [name, other]) {
      await gateway.call(ada.token, 'POST', `/codespaces/${one}/start`);
      await gateway.ready(ada.token, one, { editor: false });
    }
    assert.equal((await inside(name, 'cat uncommitted.txt')).stdout.trim(), 'kept');
    assert.match((await inside(other, 'git log --oneline')).stdout, /Add files/);
  });
  await gateway.keepCookies(page.context());
});
