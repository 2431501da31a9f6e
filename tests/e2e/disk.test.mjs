// A disk that is full when a codespace is made: said in words, and nothing half-made stays behind.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { eventually } from './harness/eventually.mjs';
import { Gateway } from './harness/gateway.mjs';
import { repository } from './harness/repositories.mjs';

const root = process.getuid() === 0 ? [] : ['sudo', '-n'];
const asRoot = (...command) => execFileSync([...root, ...command][0], [...root, ...command].slice(1), { stdio: 'pipe' });

test('a full disk', async (t) => {
  let disk;
  // Before the gateway's own end, which removes the directory below.
  t.after(() => disk && asRoot('umount', '-l', disk));
  const gateway = await Gateway.start(t, { editor: false });
  const ada = await gateway.user('ada', { admin: true });
  const { token } = ada;
  const large = repository(t, { 'large.bin': randomBytes(24 * 1024 * 1024) });
  const small = repository(t);
  disk = path.join(gateway.data, 'codespaces');
  mkdirSync(disk, { recursive: true });
  asRoot('mount', '-t', 'tmpfs', '-o', `size=8m,mode=0700,uid=${process.getuid()}`, 'tmpfs', disk);

  await t.test('a repository that does not fit fails with a reason, and leaves nothing', async (t) => {
    const { name } = await gateway.call(token, 'POST', '/codespaces', { repository: large });
    const failed = await eventually('it fails', async () => {
      const now = await gateway.call(token, 'GET', `/codespaces/${name}`);
      return now.state === 'failed' && now;
    });
    assert.match(failed.reason, /space|full/i);
    assert.equal(failed.stopped_because, failed.reason);
    const { person, shot } = await browser(t);
    const page = await (await person()).newPage();
    await signIn(page, gateway, ada);
    await page.goto(`${gateway.origin}/codespaces/${name}`);
    await page.getByRole('alert').filter({ hasText: 'It did not start.' }).filter({ hasText: failed.reason }).waitFor();
    await shot(page, 'trouble-disk');
    await gateway.keepCookies(page.context());
    await eventually('its files are gone', () => !readdirSync(disk).includes(name));
    const said = await gateway.command(['codespace', 'create', large], { token, status: null });
    assert.notEqual(said.status, 0);
    assert.match(said.stderr, /space|full/i);
  });

  await t.test('one that fits still can be made', async () => {
    const codespace = await gateway.codespace(token, small, { editor: false });
    assert.equal(codespace.state, 'running');
  });
});
