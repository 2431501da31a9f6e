// portico codespace ssh, cp, code and edit: as gh has them, over the gateway's own connection.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Gateway } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

test('verbs of a codespace', async (t) => {
  const gateway = await Gateway.start(t, { editor: false });
  const ada = await gateway.user('ada');
  const git = await serveRepositories(t, { project: repository(t, { 'a file.txt': 'from the repository\n' }) });
  const { name } = await gateway.codespace(ada.token, `${git}/project`, { editor: false });
  const cs = (arguments_, options = {}) => gateway.command(['codespace', ...arguments_], { token: ada.token, ...options });
  const here = mkdtempSync('/tmp/pc-');
  t.after(() => rmSync(here, { recursive: true, force: true }));
  const at = (...parts) => path.join(here, ...parts);

  await t.test('ssh runs a command line in a shell there, with its status, and a shell of one’s own', async () => {
    const ran = await cs(['ssh', '-c', name, '--', 'cat', '"a file.txt"', '&&', 'echo $CODESPACE_NAME;', 'exit 7'], { status: 7 });
    assert.equal(ran.stdout, `from the repository\n${name}\n`);
    const typed = await cs(['ssh', '-c', name], { input: 'echo "in $CODESPACE_NAME"; exit 5\n', status: 5 });
    assert.match(typed.stdout, new RegExp(`in ${name}`));
  });

  await t.test('cp takes files and folders in and out, as they are', async () => {
    const bytes = randomBytes(3 * 1024 * 1024);
    mkdirSync(at('folder/deep'), { recursive: true });
    writeFileSync(at('folder/deep/large'), bytes);
    writeFileSync(at('folder/run.sh'), '#!/bin/sh\n');
    chmodSync(at('folder/run.sh'), 0o755);
    symlinkSync('run.sh', at('folder/link'));
    await cs(['cp', '-r', at('folder'), 'remote:', '-c', name]);
    await cs(['cp', at('folder/run.sh'), 'remote:~/renamed', '-c', name]);
    assert.equal((await cs(['ssh', '-c', name, '--', 'test -x folder/run.sh && readlink folder/link && test -x ~/renamed && ls'])).stdout, 'run.sh\na file.txt\nfolder\n');
    mkdirSync(at('out'));
    await cs(['cp', 'remote:folder', 'remote:a file.txt', at('out'), '-c', name]);
    assert.ok(readFileSync(at('out/folder/deep/large')).equals(bytes));
    assert.ok(lstatSync(at('out/folder/link')).isSymbolicLink() && statSync(at('out/folder/run.sh')).mode & 0o100);
    await cs(['cp', 'remote:a file.txt', at('as this'), '-c', name]);
    assert.equal(readFileSync(at('as this'), 'utf8'), 'from the repository\n');
  });

  await t.test('what is wrong is told, and leaves nothing behind', async () => {
    const refused = async (arguments_, status, words) => assert.match((await cs([...arguments_, '-c', name], { status })).stderr, words);
    await refused(['cp', 'remote:nowhere', at('x')], 1, /there is no nowhere/);
    await refused(['cp', at('nowhere'), 'remote:'], 1, /nowhere/);
    await refused(['cp', at('folder'), at('other')], 2, /remote:PATH/);
    await refused(['cp', 'remote:..', at('x')], 2, /names no file/);
    await refused(['cp', at('folder'), 'remote:no/such/place'], 1, /could not be copied/);
    assert.ok(!existsSync(at('x')) && readdirSync(here).every((entry) => !entry.startsWith('.portico-cp')));
  });

  await t.test('links in what comes out lead nothing elsewhere', async () => {
    await cs(['ssh', '-c', name, '--', `mkdir -p trap && ln -s ${at('victim')} trap/out && ln -s /etc/passwd trap/passwd`]);
    mkdirSync(at('victim'));
    await cs(['cp', 'remote:trap', at('caught'), '-c', name]);
    assert.ok(lstatSync(at('caught/out')).isSymbolicLink() && readdirSync(at('victim')).length === 0);
  });

  await t.test('code says where the editor is; edit changes name and idle timeout', async () => {
    assert.equal((await cs(['code', name])).stdout.trim(), gateway.urlOf(name));
    await cs(['edit', name, '--display-name', 'The demo', '--idle-timeout', '120']);
    const now = await gateway.call(ada.token, 'GET', `/codespaces/${name}`);
    assert.deepEqual([now.display_name, now.idle_timeout_minutes], ['The demo', 120]);
    await cs(['edit', name, '--idle-timeout', '1'], { status: 1 });
    await cs(['edit', name], { status: 1 });
  });
});
