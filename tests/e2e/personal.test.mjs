// What follows a person into their codespaces: secrets, git servers, git's name, dotfiles, the editor's settings.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { becomes, eventually } from './harness/eventually.mjs';
import { Gateway } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';
import { Terminal } from './harness/terminal.mjs';

const SECRET = 'canary-of-a-secret-0123';
const PASSWORD = 'canary-of-git-0123';

/** Every file below a directory that holds a text; sockets and what is taken away meanwhile are left out. */
async function holding(directory, text) {
  const names = await eventually('the directory can be read', () => readdirSync(directory, { recursive: true }));
  return names
    .map((name) => path.join(directory, name))
    .filter((file) => {
      try {
        return statSync(file).isFile() && readFileSync(file).includes(text);
      } catch (error) {
        if (error.code === 'ENOENT') return false;
        throw error;
      }
    });
}

test('what follows a person', async (t) => {
  const gateway = await Gateway.start(t, { config: '[log]\nlevel = "trace"\n' });
  const ada = await gateway.user('ada');
  const bob = await gateway.user('bob');
  gateway.keepSecret('user secret', SECRET);
  gateway.keepSecret('git password', PASSWORD);
  const project = repository(t);
  const git = await serveRepositories(t, { project }, '127.0.0.1', `ada:${PASSWORD}`);
  const open = await serveRepositories(t, {
    dotfiles: repository(t, { 'install.sh': '#!/bin/sh\necho "installing for $MY_SECRET" | sed s/canary.*/somebody/\ntouch ~/installed-by-dotfiles\n', '.vimrc': 'set number\n' }),
    broken: repository(t, { 'setup.sh': 'echo it broke\nexit 7\n' }),
    plain: repository(t, { '.vimrc': 'set number\n', '.inputrc': '\n' }),
    project,
  });
  const cli = (arguments_, options = {}) => gateway.command(arguments_, { token: ada.token, ...options });
  const step = async (person, name, wanted) => (await gateway.call(person.token, 'GET', `/codespaces/${name}`)).steps.find((one) => one.name === wanted);
  let name;

  await t.test('secrets and git servers are kept by the command line, and never shown again', async () => {
    await cli(['secret', 'set', 'MY_SECRET'], { input: `${SECRET}\n` });
    await cli(['secret', 'set', 'MY_SECRET', '--repo', 'https://git.example/other', '--body', 'not for this one']);
    await cli(['git-credential', 'set', git, '--username', 'ada'], { input: PASSWORD });
    await cli(['settings', '--git-name', 'Ada Lovelace', '--git-email', 'ada@example.org', '--dotfiles', `${open}/dotfiles`, '--extension', 'no-such.extension']);
    const listed = (await cli(['secret', 'list'])).stdout + (await cli(['git-credential', 'list'])).stdout + (await cli(['settings', '--json'])).stdout;
    assert.match(listed, /MY_SECRET\s+all/);
    assert.match(listed, /https:\/\/git\.example\/other/);
    assert.ok(listed.includes(git) && listed.includes('Ada Lovelace') && !listed.includes('canary'), listed);
    assert.equal((await cli(['secret', 'set', 'PATH', '--body', 'x'], { status: null })).status, 2);
  });

  await t.test('a private repository is cloned, and what runs inside has the secrets', async () => {
    await gateway.call(ada.token, 'PATCH', '/user/settings', { editor_settings: '{ // mine\n "editor.fontSize": 21 }' });
    ({ name } = await gateway.codespace(ada.token, `${git}/project`));
    const inside = async (script) => (await gateway.exec(ada.token, name, ['sh', '-c', script])).stdout.trim();
    assert.equal(await inside('echo $MY_SECRET'), SECRET);
    assert.equal(await inside('git config user.name; git config user.email'), 'Ada Lovelace\nada@example.org');
    const { id } = await gateway.call(ada.token, 'POST', `/codespaces/${name}/terminals`, { cols: 80, rows: 24, command: ['sh', '-c', 'test "$MY_SECRET" = "' + SECRET + '"'] });
    await eventually('the terminal had it', async () => (await gateway.call(ada.token, 'GET', `/codespaces/${name}/terminals`)).find((one) => one.id === id)?.exit_status === 0);
    const editor = execFileSync('sh', ['-c', `cat /proc/$(cat ${gateway.data}/codespaces/${name}/state/editor.pid)/environ`]);
    assert.ok(editor.includes(`MY_SECRET=${SECRET}`), 'the editor has it');
  });

  await t.test('git push needs no token in a URL or a file', async () => {
    await gateway.exec(ada.token, name, ['sh', '-c', 'git checkout -q -b fresh && git commit -q --allow-empty -m Fresh && git push -q origin fresh']);
    assert.equal(execFileSync('git', ['log', '-1', '--format=%an <%ae> %s', 'fresh'], { cwd: project, encoding: 'utf8' }).trim(), 'Ada Lovelace <ada@example.org> Fresh');
    const credential = async (lines) => (await gateway.command(['codespace', 'exec', name, '--', 'git', 'credential', 'fill'], { token: ada.token, input: `${lines}\n\n`, status: null, env: {} })).stdout;
    const { port } = new URL(git);
    assert.match(await credential(`protocol=http\nhost=127.0.0.1:${port}`), new RegExp(`password=${PASSWORD}`));
    for (const other of [`protocol=https\nhost=127.0.0.1:${port}`, `protocol=http\nhost=127.0.0.1:${Number(port) + 1}`, `protocol=http\nhost=localhost:${port}`]) {
      assert.doesNotMatch(await credential(other), /canary/, other);
    }
  });

  await t.test('a server that is added later is known at once, to what began before and to the agent alone', async () => {
    // A shell from before, whose git is set to write down what it is told.
    const { id } = await gateway.call(ada.token, 'POST', `/codespaces/${name}/terminals`, { cols: 200, rows: 24, command: ['sh'] });
    const terminal = await new Terminal(gateway, ada.token, name, id).attach();
    terminal.type('git config --global credential.helper store; echo set-$((40 + 2))\n');
    await terminal.sees('set-42');
    const later = await serveRepositories(t, { later: repository(t) }, '127.0.0.1', `ada:${PASSWORD}`);
    await cli(['git-credential', 'set', later, '--username', 'ada'], { input: PASSWORD });
    const servers = path.join(gateway.data, 'codespaces', name, 'state/git-servers');
    await eventually('git is told that it is the agent who knows', () => readFileSync(servers, 'utf8').includes(later));
    terminal.type(`GIT_TERMINAL_PROMPT=0 git ls-remote ${later}/later v1; echo asked-$((40 + 3))\n`);
    await terminal.sees('asked-43');
    assert.match(terminal.seen, /refs\/tags\/v1/);
    await terminal.drop();
    await gateway.exec(ada.token, name, ['sh', '-c', 'git config --global --unset credential.helper; test ! -e ~/.git-credentials']);
  });

  await t.test('nothing of it is on the disk in clear, nor in the arguments of a process', async () => {
    for (const secret of [SECRET, PASSWORD]) {
      assert.deepEqual(await holding(gateway.data, secret), []);
      assert.ok(!execFileSync('ps', ['axww', '-o', 'args'], { encoding: 'utf8' }).includes(secret));
    }
  });

  await t.test('log_1: nor in what the gateway or the agent logs', async () => {
    const logs = (await cli(['codespace', 'logs', name])).stdout + gateway.output;
    assert.ok(!logs.includes(SECRET) && !logs.includes(PASSWORD));
  });

  await t.test('dotfiles were installed once, and the editor began with the settings', async () => {
    await eventually('the dotfiles are done', async () => (await step(ada, name, 'dotfiles'))?.state === 'done');
    assert.match((await step(ada, name, 'dotfiles')).detail, /install\.sh/);
    const home = path.join(gateway.data, 'codespaces', name, 'home');
    assert.ok(statSync(path.join(home, 'installed-by-dotfiles')).isFile());
    await eventually('the log tells it', async () => (await cli(['codespace', 'logs', name])).stdout.includes('installing for somebody'));
    const settings = JSON.parse(readFileSync(path.join(home, '.local/share/code-server/User/settings.json'), 'utf8'));
    assert.deepEqual([settings['editor.fontSize'], settings['telemetry.telemetryLevel']], [21, 'off']);
    // There is no gallery in reach of a test: that is told, and nothing else fails for it.
    await eventually('the extensions were tried', async () => (await step(ada, name, 'extensions'))?.state === 'failed');
    assert.match((await step(ada, name, 'extensions')).detail, /no-such\.extension/);
  });

  await t.test('a change reaches what is started next, and a restart keeps it', async () => {
    await gateway.call(ada.token, 'PUT', '/user/secrets/LATER', { value: 'came later' });
    await eventually('a command has it', async () => (await gateway.exec(ada.token, name, ['sh', '-c', 'echo $LATER'])).stdout.trim() === 'came later');
    await gateway.call(ada.token, 'DELETE', `/user/git-credentials?host=${encodeURIComponent(git)}`);
    await eventually('git is refused', async () => (await gateway.exec(ada.token, name, ['git', 'ls-remote', 'origin'], { status: null })).status !== 0);
    await gateway.kill9();
    await gateway.serve();
    await gateway.ready(ada.token, name);
    assert.equal((await gateway.exec(ada.token, name, ['sh', '-c', 'echo $LATER $MY_SECRET'])).stdout.trim(), `came later ${SECRET}`);
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/stop`);
    await eventually('it is stopped', async () => (await gateway.call(ada.token, 'GET', `/codespaces/${name}`)).state === 'stopped');
    await gateway.call(ada.token, 'PATCH', '/user/settings', { git_name: 'Ada King', editor_settings: '{ "editor.fontSize": 25 }' });
    const file = path.join(gateway.data, 'codespaces', name, 'home/.local/share/code-server/User/settings.json');
    // As the editor writes it when something is set in its own pages.
    writeFileSync(file, readFileSync(file, 'utf8').replace('{', '{\n  // set in the editor\n  "editor.wordWrap": "on",'));
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/start`);
    await gateway.ready(ada.token, name);
    assert.equal((await gateway.exec(ada.token, name, ['sh', '-c', 'git config user.name; echo $MY_SECRET'])).stdout.trim(), `Ada King\n${SECRET}`);
    await becomes(async () => (await step(ada, name, 'dotfiles'))?.state, 'skipped');
    const settings = readFileSync(file, 'utf8');
    assert.match(settings, /\/\/ set in the editor\n/);
    assert.deepEqual(['editor.fontSize', 'editor.wordWrap', 'telemetry.telemetryLevel'].map((key) => settings.match(new RegExp(`"${key}": "?(\\w+)`))?.[1]), ['25', 'on', 'off']);
  });

  await t.test("somebody else's codespace has none of it", async () => {
    const other = await gateway.codespace(bob.token, `${open}/project`);
    const inside = (await gateway.exec(bob.token, other.name, ['sh', '-c', 'echo "[$MY_SECRET]"; ls -A ~'])).stdout;
    assert.ok(inside.startsWith('[]\n') && !inside.includes('.dotfiles'), inside);
    assert.equal(await step(bob, other.name, 'dotfiles'), undefined);
  });

  await t.test('dotfiles that fail are told and stop nothing; without a script they are linked', async () => {
    // Bob has one of the default branch.
    const first = execFileSync('git', ['rev-parse', 'main~1'], { cwd: project, encoding: 'utf8' }).trim();
    for (const [dotfiles, state, detail] of [['broken', 'failed', /setup\.sh failed.*7/], ['plain', 'done', /linked 2 files/], ['missing', 'failed', /could not be fetched/]]) {
      await gateway.call(bob.token, 'PATCH', '/user/settings', { dotfiles_repository: `${open}/${dotfiles}` });
      const one = await gateway.codespace(bob.token, `${open}/project`, { ref: dotfiles === 'plain' ? 'topic' : dotfiles === 'missing' ? 'v1' : first, editor: false });
      await eventually(`the dotfiles ${dotfiles} are over`, async () => (await step(bob, one.name, 'dotfiles'))?.state === state);
      assert.match((await step(bob, one.name, 'dotfiles')).detail, detail);
      assert.equal((await gateway.exec(bob.token, one.name, ['echo', 'well'])).stdout.trim(), 'well');
    }
  });

  await t.test('all of it can be set on the page, at any width and in the dark', async () => {
    const { person, shot } = await browser(t);
    const page = await (await person()).newPage();
    await signIn(page, gateway, bob, '/settings');
    await page.getByTestId('secret-name').fill('FROM_PAGE');
    await page.getByTestId('secret-value').fill(gateway.keepSecret('user secret', 'canary-typed-0123'));
    await page.getByTestId('save-secret').click();
    await page.getByTestId('secret').filter({ hasText: 'FROM_PAGE' }).waitFor();
    await page.getByTestId('git-host').fill('me@nowhere');
    await page.getByTestId('git-username').fill('bob');
    await page.getByTestId('git-password').fill('canary-typed-0123');
    await page.getByTestId('save-git').click();
    await page.locator('#git-servers').getByRole('alert').waitFor();
    await page.getByTestId('git-host').fill('git.example');
    await page.getByTestId('save-git').click();
    await page.getByTestId('git-server').filter({ hasText: 'https://git.example' }).waitFor();
    await page.getByTestId('editor-settings').fill('[]');
    await page.getByTestId('save-personal').click();
    await page.locator('#personal').getByRole('alert').waitFor();
    await page.getByTestId('editor-settings').fill('{ "editor.tabSize": 3 }');
    await page.getByTestId('git-name').fill('Bob from the page');
    await page.getByTestId('save-personal').click();
    await eventually('it is kept', async () => (await gateway.call(bob.token, 'GET', '/user/settings')).git_name === 'Bob from the page');
    assert.ok(!(await page.content()).includes('canary-typed'));
    await shot(page, 'personal-settings');
    await page.setViewportSize({ width: 360, height: 740 });
    await page.emulateMedia({ colorScheme: 'dark' });
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)) <= 0, 'too wide');
    await shot(page, 'personal-settings-phone');
    await page.getByTestId('delete-secret').click();
    await page.getByTestId('secret').waitFor({ state: 'detached' });
    await gateway.keepCookies(page.context());
  });
});

test('secrets of one repository reach its codespaces and no other’s', async (t) => {
  const gateway = await Gateway.start(t, { editor: false });
  const [ada, bob] = [await gateway.user('ada'), await gateway.user('bob')];
  const git = await serveRepositories(t, { shop: repository(t), blog: repository(t) });
  const values = { everywhere: 'canary-for-all-0123', shop: 'canary-for-the-shop-0123', again: 'canary-for-the-shop-4567' };
  for (const value of Object.values(values)) gateway.keepSecret('user secret', value);
  const secret = (arguments_, input) => gateway.command(['secret', ...arguments_], { token: ada.token, input });
  // The repository is named in another spelling than the codespace's.
  await secret(['set', 'SHOP_KEY', '--repo', `${git}/shop.git`], values.shop);
  await secret(['set', 'BOTH', '--repo', `${git}/shop`], values.shop);
  await secret(['set', 'BOTH'], values.everywhere);
  const [shop, blog] = await Promise.all(['shop', 'blog'].map((name) => gateway.codespace(ada.token, `${git}/${name}`, { editor: false })));
  const bobs = await gateway.codespace(bob.token, `${git}/shop`, { editor: false });
  const plain = await gateway.codespace(ada.token, `${git}/shop`, { editor: false, personal: false, ref: 'topic' });
  const inside = async (person, { name }) => (await gateway.exec(person.token, name, ['sh', '-c', 'echo "${SHOP_KEY-none} ${BOTH-none}"'])).stdout.trim();
  assert.equal(await inside(ada, shop), `${values.shop} ${values.shop}`);
  assert.equal(await inside(ada, blog), `none ${values.everywhere}`);
  assert.equal(await inside(bob, bobs), 'none none', 'nor to anybody else of the same repository');
  assert.equal(await inside(ada, plain), 'none none', 'nor where it is to have nothing of its owner’s');
  // Changed and taken back, of codespaces that run.
  await secret(['set', 'SHOP_KEY', '--repo', `${git}/shop`], values.again);
  await becomes(() => inside(ada, shop), `${values.again} ${values.shop}`);
  await secret(['delete', 'SHOP_KEY', '--repo', `${git}/shop`]);
  await becomes(() => inside(ada, shop), `none ${values.shop}`);
  assert.equal(await inside(ada, blog), `none ${values.everywhere}`);
});
