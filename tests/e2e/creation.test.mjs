// What a codespace is made of: a branch, a tag, a commit, a pull request, by the API, the command line and a link; how many one
// person may have, and how those that nobody uses go.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { becomes, eventually } from './harness/eventually.mjs';
import { Gateway } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

const AUTHOR = ['-c', 'user.name=Test', '-c', 'user.email=test@example.org'];

/** A repository with a pull request, of a commit that no branch has. */
function withPullRequest(t, number) {
  const directory = repository(t);
  const git = (...arguments_) => execFileSync('git', [...AUTHOR, ...arguments_], { cwd: directory, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
  git('checkout', '-q', '-b', 'proposal');
  git('commit', '-q', '--allow-empty', '-m', 'Propose');
  git('update-ref', `refs/pull/${number}/head`, 'HEAD');
  git('checkout', '-q', 'main');
  git('branch', '-q', '-D', 'proposal');
  return { directory, git };
}

test('a codespace is of a branch, a tag, a commit or a pull request', async (t) => {
  const gateway = await Gateway.start(t, { editor: false });
  const [ada, bob] = [await gateway.user('ada'), await gateway.user('bob')];
  const { directory, git } = withPullRequest(t, 7);
  const url = `${await serveRepositories(t, { project: directory })}/project`;
  const first = git('rev-parse', 'main~1');
  const create = (body) => gateway.api(ada.token, 'POST', '/codespaces', { repository: url, ...body });
  const cli = (arguments_, options = {}) => gateway.command(['codespace', 'create', url, ...arguments_], { token: bob.token, ...options });
  const inside = async (person, name) =>
    (await gateway.exec(person.token, name, ['sh', '-c', 'git log -1 --format=%s; git rev-parse --abbrev-ref HEAD; git describe --tags --exact-match 2>/dev/null || echo none'])).stdout.trim().split('\n');

  const asked = [
    [{}, [], ['Add files', 'main', 'v1']],
    [{ ref: 'topic' }, ['--ref', 'topic'], ['Add files', 'topic', 'v1']],
    [{ ref: 'v1' }, ['-b', 'v1'], ['Add files', 'HEAD', 'v1']],
    [{ ref: first }, ['--ref', first], ['Begin', 'HEAD', 'none']],
    [{ ref: first.slice(0, 9) }, ['--ref', first.slice(0, 9)], ['Begin', 'HEAD', 'none']],
    [{ pull_request: 7 }, ['--pull-request', '7'], ['Propose', 'pull-7', 'none']],
  ];
  let proposal;
  for (const [body, arguments_, expected] of asked) {
    await t.test(`by ${JSON.stringify(body)}`, async () => {
      const made = await create(body);
      assert.equal(made.status, 201, made.text);
      const { name } = await gateway.ready(ada.token, made.json.name, { editor: false });
      // Tags come with the whole history, after the first files.
      await becomes(() => inside(ada, name), expected);
      const again = await create(body);
      assert.deepEqual([again.status, again.json.name], [200, name], 'asking again returns the one that is there');
      const bobs = (await cli(arguments_)).stdout.trim();
      await gateway.exec(bob.token, bobs, ['git', 'log', '-1']); // The command line waited until it can be used.
      await becomes(() => inside(bob, bobs), expected);
      const repeated = await cli(arguments_);
      assert.deepEqual([repeated.stdout.trim(), repeated.stderr.includes(`${bobs} is there already.`)], [bobs, true]);
      if (body.pull_request) proposal = again.json;
    });
  }

  await t.test('the default branch by its name is the one without a reference, and the other way round', async () => {
    const [nameless] = (await gateway.call(ada.token, 'GET', '/codespaces')).filter((one) => !one.ref && !one.pull_request);
    for (const ref of ['main', 'refs/heads/main']) {
      const found = await create({ ref });
      assert.deepEqual([found.status, found.json.name], [200, nameless.name], ref);
    }
    const eve = await gateway.user('eve');
    const named = await gateway.codespace(eve.token, url, { editor: false, ref: 'main' });
    const found = await gateway.api(eve.token, 'POST', '/codespaces', { repository: url });
    assert.deepEqual([found.status, found.json.name], [200, named.name]);
  });

  await t.test('what is not there is told, and nothing half-made stays', async () => {
    const count = async () => (await gateway.call(bob.token, 'GET', '/codespaces')).length;
    const before = await count();
    for (const [arguments_, words] of [
      [['--pull-request', '8'], /no pull request 8/],
      [['--ref', 'nowhere'], /no branch, tag or commit nowhere; there are .*main/],
      [['--ref', '--upload-pack=x'], /no branch, tag or commit|unexpected/],
      [['--ref', 'main', '--pull-request', '7'], /cannot be used with/],
    ]) {
      const refused = await cli(arguments_, { status: null });
      assert.notEqual(refused.status, 0);
      assert.match(refused.stderr, words);
    }
    assert.equal(await count(), before);
  });

  await t.test('a link names the pull request where somebody is about to open it', async (t) => {
    const { person, shot } = await browser(t);
    const page = await (await person()).newPage();
    await signIn(page, gateway, ada);
    await page.goto(`${gateway.origin}/new?repository=${encodeURIComponent(url)}&pull_request=7`);
    await page.getByText('A link filled this in').waitFor();
    assert.equal(await page.getByTestId('new-pull-request').inputValue(), '7');
    await shot(page, 'creation-pull-request');
    // The one of before had its owner's own things; this one is the same.
    await page.getByTestId('new-personal').check();
    await page.getByTestId('create').click();
    await page.waitForURL((at) => at.pathname === `/codespaces/${proposal.name}`);
    await page.locator('dt', { hasText: 'Pull request' }).waitFor();
    await page.getByText('#7').waitFor();
  });

  await t.test('a link that names no number of a pull request makes nothing else instead', async (t) => {
    const { person, shot } = await browser(t);
    const page = await (await person()).newPage();
    await signIn(page, gateway, ada);
    let asked = 0;
    page.on('request', (request) => (asked += request.method() === 'POST' && new URL(request.url()).pathname.endsWith('/codespaces')));
    const field = page.getByTestId('new-pull-request');
    for (const number of ['abc', '0', '-7', '1.5']) {
      await page.goto(`${gateway.origin}/new?repository=${encodeURIComponent(url)}&pull_request=${number}&ref=topic`);
      await page.getByText('The link names a pull request, but not by its number').waitFor();
      await page.getByText('the pull request is what is used').waitFor();
      await page.getByTestId('create').click();
      assert.equal(await field.evaluate((input) => input.matches(':focus:invalid')), true, 'it is where something is missing');
    }
    await shot(page, 'creation-no-pull-request');
    assert.equal(asked, 0);
    await field.fill('7');
    await page.getByTestId('create').click();
    await page.waitForURL((at) => at.pathname.startsWith('/codespaces/'));
    assert.equal(asked, 1);
    await page.getByText('#7').waitFor();
  });
});

test('one person has so many codespaces and no more, and is told what to do', async (t) => {
  const gateway = await Gateway.start(t, { editor: false, config: '[limits]\ncodespaces_per_user = 1\n' });
  const ada = await gateway.user('ada');
  const git = await serveRepositories(t, { one: repository(t), two: repository(t) });
  const { name } = await gateway.codespace(ada.token, `${git}/one`, { editor: false });
  const words = /You have as many codespaces as you may have here \(1\)\. Delete one that you no longer need, or ask the operator/;

  const refused = await gateway.api(ada.token, 'POST', '/codespaces', { repository: `${git}/two` });
  assert.deepEqual([refused.status, refused.json.type, refused.json.limit], [409, 'urn:portico:too-many-codespaces', 1]);
  assert.match(refused.json.detail, words);
  assert.match(refused.headers['content-type'], /application\/problem\+json/);
  const told = await gateway.command(['codespace', 'create', `${git}/two`], { token: ada.token, status: null });
  assert.notEqual(told.status, 0);
  assert.match(told.stderr, words);
  assert.equal((await gateway.api(ada.token, 'POST', '/codespaces', { repository: `${git}/one` })).status, 200, 'the one that is there is no other');

  const { person, shot } = await browser(t);
  const page = await (await person()).newPage();
  await signIn(page, gateway, ada);
  await page.goto(`${gateway.origin}/new`);
  await page.getByTestId('new-repository').fill(`${git}/two`);
  await page.getByTestId('create').click();
  await page.getByRole('alert').filter({ hasText: words }).waitFor();
  await shot(page, 'creation-quota');
  await gateway.call(ada.token, 'DELETE', `/codespaces/${name}?force=true`);
  await page.getByTestId('create').click();
  await page.waitForURL((at) => at.pathname.startsWith('/codespaces/'));
});

test('what nobody uses is announced, and goes when it was said', async (t) => {
  const gateway = await Gateway.start(t, { editor: false, config: '[codespaces]\nretention = "30d"\nnotice = "7d"\nunsaved_grace = "90d"\n' });
  const ada = await gateway.user('ada');
  const git = await serveRepositories(t, { saved: repository(t), unsaved: repository(t) });
  const [saved, unsaved] = [await gateway.codespace(ada.token, `${git}/saved`, { editor: false }), await gateway.codespace(ada.token, `${git}/unsaved`, { editor: false })];
  const view = async (name) => (await gateway.api(ada.token, 'GET', `/codespaces/${name}`)).json;
  await gateway.exec(ada.token, unsaved.name, ['sh', '-c', 'echo mine > only-here.txt']);
  for (const { name } of [saved, unsaved]) {
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/stop`);
    await becomes(async () => (await view(name)).state, 'stopped');
    assert.equal((await view(name)).deletes_at, null);
  }
  const at = async (ahead) => {
    gateway.process.kill('SIGTERM');
    await gateway.exited;
    await gateway.serve({ ahead });
  };

  await at('+24d');
  const goes = await eventually('it is announced', async () => (await view(saved.name)).deletes_at);
  const days = (Date.parse(goes) - Date.now()) / 86_400_000;
  assert.ok(days > 30.9 && days < 31.1, `a week after it was announced, ${days} days from now`);
  assert.equal((await view(unsaved.name)).deletes_at, null, 'what only it has keeps it longer');
  const listed = await gateway.command(['codespace', 'list'], { token: ada.token });
  assert.match(listed.stderr, new RegExp(`${saved.name} will be deleted on ${goes.slice(0, 10)}: nobody used it for long. To keep it: portico codespace start ${saved.name}`));
  const viewed = await gateway.command(['codespace', 'view', saved.name], { token: ada.token });
  assert.match(viewed.stdout, new RegExp(goes.slice(0, 10)));

  const { person, shot } = await browser(t);
  const page = await (await person()).newPage();
  await signIn(page, gateway, ada);
  const said = new Date(goes).toLocaleDateString('en-US', { dateStyle: 'long' });
  await page.getByTestId('deletes-soon').filter({ hasText: `Will be deleted on ${said}` }).waitFor();
  await shot(page, 'creation-deletes-list');
  await page.goto(`${gateway.origin}/codespaces/${saved.name}`);
  await page.getByTestId('deletes-soon').filter({ hasText: `It will be deleted on ${said}` }).waitFor();
  await page.getByTestId('keep').waitFor();
  await shot(page, 'creation-deletes');

  await at('+32d');
  await eventually('it is gone', async () => (await gateway.api(ada.token, 'GET', `/codespaces/${saved.name}`)).status === 404);
  await eventually('with its files', () => !existsSync(path.join(gateway.data, 'codespaces', saved.name)));
  assert.equal((await view(unsaved.name)).state, 'stopped');
  const events = await gateway.command(['audit', '--event', 'codespace', '--codespace', saved.name, '--data', gateway.data]);
  for (const event of ['codespace.announced', 'codespace.expired']) assert.ok(events.stdout.includes(event), events.stdout);
});
