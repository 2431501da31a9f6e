// What goes wrong with a container is told plainly: by the API, and in the words of the page that its owner looks at. A full disk:
// disk.test.mjs, docker_disk.test.mjs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { Engine, IMAGE, world } from './harness/engine.mjs';
import { eventually } from './harness/eventually.mjs';
import { Gateway } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

const config = (engine, image = IMAGE) => `runtime = "docker"
[docker]
socket = "${engine.socket}"
image = "${image}"
memory = "256MiB"
`;

/** A browser at a codespace's page, signed in. */
async function pageOf(t, gateway, account) {
  const { person, shot } = await browser(t);
  const page = await (await person()).newPage();
  await signIn(page, gateway, account);
  const at = (name) => page.goto(`${gateway.origin}/codespaces/${name}`);
  return { page, at, shot };
}

test('what goes wrong with a container is told on its page', async (t) => {
  const engine = await Engine.start(t);
  const gateway = await Gateway.start(t, { editor: false, config: config(engine) });
  const hook = '{ "onCreateCommand": "echo what is wrong >&2; exit 3", "postCreateCommand": "true" }';
  const git = await serveRepositories(t, { project: repository(t), failing: repository(t, { '.devcontainer.json': hook }) }, world(t));
  const ada = await gateway.user('ada', { admin: true });
  const view = (name) => gateway.call(ada.token, 'GET', `/codespaces/${name}`);
  const create = async (repository) => (await gateway.call(ada.token, 'POST', '/codespaces', { repository: `${git}/${repository}` })).name;
  const failed = (name) => eventually('it failed', async () => (await view(name)).state === 'failed' && view(name));
  const inside = async (name, command, options) => (await gateway.exec(ada.token, name, ['bash', '-c', command], options)).stdout.trim();
  const { page, at, shot } = await pageOf(t, gateway, ada);
  const alert = page.getByRole('alert').filter({ hasText: 'It did not start.' });
  let name;

  await t.test('a hook that fails', async () => {
    const { name: made } = await gateway.codespace(ada.token, `${git}/failing`, { editor: false });
    const step = await eventually('it is told', async () => (await view(made)).steps.find((step) => step.name === 'on_create' && step.state === 'failed'));
    assert.match(step.detail, /what is wrong/);
    await at(made);
    const shown = page.locator('[data-step=on_create][data-state=failed]');
    await shown.filter({ hasText: 'what is wrong' }).filter({ hasText: 'exit status: 3' }).waitFor();
    await page.locator('[data-step=post_create]').filter({ hasText: 'a command before it failed' }).waitFor();
    await shot(page, 'trouble-hook');
    await gateway.call(ada.token, 'DELETE', `/codespaces/${made}?force=true`);
  });

  await t.test('memory that runs out and takes what needs it alone', async () => {
    ({ name } = await gateway.codespace(ada.token, `${git}/project`, { editor: false }));
    await inside(name, 'echo kept > uncommitted.txt');
    assert.equal((await view(name)).out_of_memory, null);
    await at(name);
    // Of its own will it stands first.
    await inside(name, 'echo 1000 > /proc/self/oom_score_adj; exec python3 -c "x = bytearray(1 << 30)"', { status: 137 });
    const codespace = await eventually('it is told', async () => ((now) => now.out_of_memory && now)(await view(name)));
    assert.match(codespace.out_of_memory, /^the kernel ended a process in it since it was started \(256 MiB are allowed\)/);
    assert.deepEqual([codespace.state, codespace.connected, codespace.restarted_because], ['running', true, null]);
    await page.getByTestId('memory').filter({ hasText: codespace.out_of_memory }).waitFor();
    await shot(page, 'trouble-memory-inside');
    const told = await gateway.command(['codespace', 'view', name], { token: ada.token });
    assert.match(told.stdout, /^memory +the kernel ended a process in it/m);
  });

  await t.test('memory that runs out and takes the whole container', async () => {
    assert.equal((await view(name)).restarted_because, null);
    // The kernel takes what stands first: here the agent, and with it all of the container.
    await inside(name, 'echo 1000 > /proc/1/oom_score_adj; exec python3 -c "x = bytearray(1 << 30)"', { status: null });
    const codespace = await eventually('it runs again', async () => {
      const now = await view(name);
      return now.state === 'running' && now.connected && now.restarted_because && now;
    });
    assert.match(codespace.restarted_because, /^it ran out of memory \(256 MiB are allowed\)/);
    await page.getByTestId('restarted').filter({ hasText: codespace.restarted_because }).waitFor();
    await shot(page, 'trouble-memory');
    const told = await gateway.command(['codespace', 'view', name], { token: ada.token });
    assert.match(told.stdout, /^restarted +by itself: it ran out of memory/m);
    assert.equal(await inside(name, 'cat uncommitted.txt'), 'kept');
  });

  await t.test('a start of its owner ends that story', async () => {
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/stop`);
    await eventually('it is stopped', async () => (await view(name)).state === 'stopped');
    await page.getByText('Stopped: ada stopped it').waitFor();
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/start`);
    await gateway.ready(ada.token, name, { editor: false });
    assert.equal((await view(name)).restarted_because, null);
    await page.getByTestId('restarted').waitFor({ state: 'detached' });
  });

  await t.test('an engine that is down', async () => {
    const container = engine.names('container').find((found) => found.endsWith(name));
    const agent = Number(engine.docker('inspect', '-f', '{{.State.Pid}}', container));
    await engine.kill9();
    process.kill(agent, 'SIGKILL');
    const codespace = await eventually('nobody can say how it is', async () => {
      const now = await view(name);
      return now.away_because && now;
    });
    assert.match(codespace.away_because, /engine at .* cannot be reached/);
    await page.getByTestId('away').filter({ hasText: 'cannot be reached' }).waitFor();
    await shot(page, 'trouble-engine');
    const made = await create('project');
    // The same repository: it is the one that there is.
    assert.equal(made, name);
    const other = await gateway.call(ada.token, 'POST', '/codespaces', { repository: `${git}/project`, ref: 'topic' });
    const { reason } = await failed(other.name);
    assert.match(reason, /engine at .* cannot be reached/);
    await at(other.name);
    await alert.filter({ hasText: reason }).waitFor();
    await engine.run();
    await at(name);
    await gateway.ready(ada.token, name, { editor: false });
    await page.getByTestId('away').waitFor({ state: 'detached' });
    await page.getByTestId('restarted').filter({ hasText: 'had ended meanwhile' }).waitFor();
    assert.equal(await inside(name, 'cat uncommitted.txt'), 'kept');
    await gateway.keepCookies(page.context());
  });
});

test('a kernel without nftables', async (t) => {
  const engine = await Engine.start(t, { nftables: false });
  const git = await serveRepositories(t, { project: repository(t) }, world(t));

  await t.test('closes nothing off, so that no codespace runs, and says so', async (t) => {
    const gateway = await Gateway.start(t, { editor: false, config: config(engine) });
    const ada = await gateway.user('ada', { admin: true });
    const { name } = await gateway.call(ada.token, 'POST', '/codespaces', { repository: `${git}/project` });
    const { reason } = await eventually('it failed', async () => {
      const now = await gateway.call(ada.token, 'GET', `/codespaces/${name}`);
      return now.state === 'failed' && now;
    });
    assert.match(reason, /its network could not be closed off, and without that it does not run: .*the kernel has no nftables/);
    const container = engine.names('container').find((found) => found.endsWith(name));
    await eventually('its container stands still', () => engine.docker('inspect', '-f', '{{.State.Running}}', container) === 'false');
    const { page, at } = await pageOf(t, gateway, ada);
    await at(name);
    await page.getByRole('alert').filter({ hasText: 'It did not start.' }).filter({ hasText: 'the kernel has no nftables' }).waitFor();
    await gateway.keepCookies(page.context());
  });

  await t.test('will do where the operator says so', async (t) => {
    const gateway = await Gateway.start(t, { editor: false, config: `${config(engine)}fence_without_filter = true\n` });
    const ada = await gateway.user('ada', { admin: true });
    const { name } = await gateway.codespace(ada.token, `${git}/project`, { editor: false });
    const metadata = 'timeout 5 bash -c "</dev/tcp/169.254.169.254/80"';
    const tried = await gateway.exec(ada.token, name, ['bash', '-c', metadata], { status: null });
    assert.match(tried.stderr, /No route to host|Permission denied|Network is unreachable|prohibited/, 'its routes stand all the same');
  });
});

test('an image that cannot be had is told on the page', async (t) => {
  const engine = await Engine.start(t);
  const gateway = await Gateway.start(t, { editor: false, config: config(engine, 'no-such-image:latest') });
  const ada = await gateway.user('ada', { admin: true });
  const git = await serveRepositories(t, { project: repository(t) }, world(t));
  const { name } = await gateway.call(ada.token, 'POST', '/codespaces', { repository: `${git}/project` });
  const { reason } = await eventually('it failed', async () => {
    const now = await gateway.call(ada.token, 'GET', `/codespaces/${name}`);
    return now.state === 'failed' && now;
  });
  assert.match(reason, /image no-such-image:latest cannot be had/);
  const { page, at, shot } = await pageOf(t, gateway, ada);
  await at(name);
  await page.getByRole('alert').filter({ hasText: 'It did not start.' }).filter({ hasText: 'no-such-image:latest cannot be had' }).waitFor();
  await shot(page, 'trouble-image');
  // The address of its editor says the same to its owner.
  await page.goto(gateway.urlOf(name));
  await page.getByText('no-such-image:latest cannot be had').waitFor();
  await gateway.keepCookies(page.context());
});
