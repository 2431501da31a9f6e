// What follows a person into a container: secrets, the login of a git server, git's name, dotfiles.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { Engine, IMAGE, world } from './harness/engine.mjs';
import { becomes } from './harness/eventually.mjs';
import { Gateway } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

const SECRET = 'canary-of-a-secret-4567';
const PASSWORD = 'canary-of-git-4567';

test('what follows a person is in a container, and its passwords in no file of it', async (t) => {
  const engine = await Engine.start(t);
  const gateway = await Gateway.start(t, { config: `runtime = "docker"\n[docker]\nsocket = "${engine.socket}"\nimage = "${IMAGE}"\nmemory = "1GiB"\n` });
  const ada = await gateway.user('ada', { admin: true });
  gateway.keepSecret('user secret', SECRET);
  gateway.keepSecret('git password', PASSWORD);
  const address = world(t);
  const project = repository(t, { 'notes.txt': 'first\n' });
  const git = await serveRepositories(t, { project }, address, `ada:${PASSWORD}`);
  const dotfiles = repository(t, { 'install.sh': '#!/bin/sh\ntest -n "$MY_SECRET" && echo installed > ~/installed-by-dotfiles\n' });
  const open = await serveRepositories(t, { dotfiles }, address);
  const cli = (arguments_, options = {}) => gateway.command(arguments_, { token: ada.token, ...options });
  await cli(['secret', 'set', 'MY_SECRET'], { input: `${SECRET}\n` });
  await cli(['git-credential', 'set', git, '--username', 'ada'], { input: PASSWORD });
  await cli(['settings', '--git-name', 'Ada Lovelace', '--git-email', 'ada@example.org', '--dotfiles', `${open}/dotfiles`]);
  const { name } = await gateway.codespace(ada.token, `${git}/project`);
  const inside = async (command, options) => (await gateway.exec(ada.token, name, ['sh', '-c', command], options)).stdout.trim();
  const container = engine.names('container').find((found) => found.endsWith(name));
  const asRoot = (...command) => engine.docker('exec', '-u', '0', container, ...command);

  await t.test('a private repository is cloned, and pushed to', async () => {
    assert.equal(await inside('cat notes.txt; git remote get-url origin'), `first\n${git}/project`);
    await inside('git checkout -q -b fresh && git commit -q --allow-empty -m Fresh && git push -q origin fresh');
    assert.equal(execFileSync('git', ['log', '-1', '--format=%an <%ae> %s', 'fresh'], { cwd: project, encoding: 'utf8' }).trim(), 'Ada Lovelace <ada@example.org> Fresh');
  });

  await t.test('what runs inside has the secret; the container itself was not made with it', async () => {
    assert.equal(await inside('echo $MY_SECRET'), SECRET);
    const made = engine.docker('inspect', container);
    assert.ok(!made.includes(SECRET) && !made.includes(PASSWORD));
  });

  await t.test('the dotfiles\' script ran, with the secret', async () => {
    await becomes(async () => (await gateway.call(ada.token, 'GET', `/codespaces/${name}`)).steps.find((step) => step.name === 'dotfiles')?.state, 'done');
    assert.equal(await inside('cat ~/installed-by-dotfiles'), 'installed');
  });

  await t.test('no file holds a password, before and after it slept', async () => {
    const holding = () => asRoot('sh', '-c', `grep -rlsF -e ${SECRET} -e ${PASSWORD} /workspaces /home /root /tmp /portico /etc; true`).split('\n').sort();
    // One that does is found.
    await inside('printf %s "$MY_SECRET" > ~/wrote-it-myself');
    assert.deepEqual(holding(), ['/home/dev/wrote-it-myself']);
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/stop`);
    await becomes(async () => (await gateway.call(ada.token, 'GET', `/codespaces/${name}`)).state, 'stopped');
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/start`);
    await gateway.ready(ada.token, name);
    assert.equal(await inside('git fetch -q origin && echo $MY_SECRET'), SECRET);
    assert.deepEqual(holding(), ['/home/dev/wrote-it-myself']);
  });
});
