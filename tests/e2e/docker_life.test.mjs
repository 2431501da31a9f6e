// The life of codespaces that are containers of a real engine: entered while they are made, asleep, woken by many at once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { Engine, IMAGE, world } from './harness/engine.mjs';
import { becomes, eventually } from './harness/eventually.mjs';
import { Gateway } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';
import { Terminal } from './harness/terminal.mjs';
import * as vscode from './harness/vscode.mjs';

/** Forty idle "minutes" are forty seconds: an agent tells of activity every fifteen. */
const IDLE = 40;
/** No test is about how fast anything is. */
const PATIENCE = { timeout: 300_000, seconds: 300 };
const PORT = 8123;
const VISITORS = 100;

const config = (engine, more = '') => `runtime = "docker"
[codespaces]
idle_minute = "1s"
[docker]
socket = "${engine.socket}"
image = "${IMAGE}"
memory = "1GiB"
builds = true
${more}`;

/** A hook that lasts until it is told to end. */
const HELD = 'while [ ! -e /tmp/go ]; do sleep 1; done';

/** Its server is there after each start; one that lets few wait has the rest come again ever later. */
const SERVER = `from http.server import *
ThreadingHTTPServer.request_queue_size = 256
ThreadingHTTPServer(("127.0.0.1", ${PORT}), SimpleHTTPRequestHandler).serve_forever()`;
const SITE = JSON.stringify({ postStartCommand: `python3 -c '${SERVER}' >/dev/null 2>&1 &` });

/** What of the file no other test has, and an editor that waits for the hook. */
const SHAPED = JSON.stringify({
  build: { dockerfile: 'Dockerfile', target: 'wanted' },
  containerUser: 'dev',
  waitFor: 'postCreateCommand',
  postCreateCommand: HELD,
  postAttachCommand: 'echo attached >> /tmp/attached',
  forwardPorts: [3000],
  portsAttributes: { 3000: { label: 'The shop', onAutoForward: 'silent' }, '4000-4010': { label: 'One of many' } },
});

const DOCKERFILE = `FROM ${IMAGE} AS wanted
USER root
RUN echo wanted > /stage
FROM wanted AS unwanted
RUN echo unwanted > /stage
`;

test('containers are entered while they are made, sleep and wake', async (t) => {
  const engine = await Engine.start(t);
  const gateway = await Gateway.start(t, { config: config(engine) });
  const git = await serveRepositories(
    t,
    {
      site: repository(t, { '.devcontainer.json': SITE, 'notes.txt': 'first\n' }),
      held: repository(t, { '.devcontainer.json': JSON.stringify({ postCreateCommand: HELD }) }),
      shaped: repository(t, { '.devcontainer/web/devcontainer.json': SHAPED, '.devcontainer/web/Dockerfile': DOCKERFILE }),
    },
    world(t),
  );
  const ada = await gateway.user('ada', { admin: true });
  const view = (name) => gateway.call(ada.token, 'GET', `/codespaces/${name}`);
  const state = async (name) => (await view(name)).state;
  const step = async (name, wanted) => (await view(name)).steps.find((one) => one.name === wanted)?.state;
  const inside = async (name, command) => (await gateway.exec(ada.token, name, ['bash', '-c', command])).stdout.trim();
  const audit = (event, name) => gateway.call(ada.token, 'GET', `/audit?event=${event}&codespace=${name}`);
  const make = async (repository) => (await gateway.call(ada.token, 'POST', '/codespaces', { repository: `${git}/${repository}`, idle_timeout_minutes: 240 })).name;
  const container = (name) => engine.names('container').find((found) => found.endsWith(name));
  const inspect = (name, format) => engine.docker('inspect', '-f', format, container(name));
  const go = (name) => engine.docker('exec', container(name), 'touch', '/tmp/go');
  let site;
  let held;

  await t.test('the editor is up while a later hook runs; where the file says to wait for the hook, it is not', async (t) => {
    const shaped = await make('shaped');
    held = await make('held');
    const { person, shot } = await browser(t);
    const context = await person();
    const page = await context.newPage();
    await signIn(page, gateway, ada);

    await gateway.ready(ada.token, held);
    await becomes(() => step(held, 'post_create'), 'running');
    assert.deepEqual([await step(held, 'editor'), (await view(held)).editor], ['done', 'ready']);
    const { id } = await gateway.call(ada.token, 'POST', `/codespaces/${held}/terminals`, { cols: 80, rows: 24, command: ['bash'] });
    const terminal = await new Terminal(gateway, ada.token, held, id).attach();
    terminal.type('echo "it is $((40 + 2))"\n');
    await terminal.sees('it is 42');
    await terminal.drop();
    await page.goto(`${gateway.origin}/codespaces/${held}`);
    await page.locator('[data-step="post_create"][data-state="running"]').waitFor();
    await page.locator('[data-step="editor"][data-state="done"]').waitFor();
    await shot(page, 'docker-entered-early');
    const tab = await context.newPage();
    await tab.goto(gateway.urlOf(held));
    await vscode.workbench(tab);
    assert.equal(await step(held, 'post_create'), 'running', 'the hook runs on behind the editor');
    await tab.close();

    await becomes(() => step(shaped, 'post_create'), 'running');
    assert.deepEqual([await step(shaped, 'editor'), (await view(shaped)).editor === 'ready'], ['pending', false]);
    const waiting = await context.newPage();
    await waiting.goto(gateway.urlOf(shaped));
    await waiting.locator('[data-page="editor-starting"] [data-step="post_create"][data-state="running"]').waitFor();
    await shot(waiting, 'docker-waits-for-hook');
    assert.deepEqual([await step(shaped, 'post_create'), await step(shaped, 'editor')], ['running', 'pending']);

    [held, shaped].forEach(go);
    await becomes(() => step(held, 'post_create'), 'done');
    await page.locator('[data-testid="steps"]').waitFor({ state: 'detached' });
    await becomes(() => step(shaped, 'post_create'), 'done');
    await gateway.ready(ada.token, shaped);
    await vscode.workbench(waiting);

    // What of the file no other test has.
    await becomes(() => inside(shaped, 'cat /tmp/attached 2>/dev/null'), 'attached');
    assert.equal((await view(shaped)).recovery, null);
    assert.equal(await inside(shaped, 'cat /stage; id -un'), 'wanted\ndev');
    const ports = await gateway.call(ada.token, 'GET', `/codespaces/${shaped}/ports`);
    assert.equal(ports.find((row) => row.port === 3000)?.label, 'The shop', JSON.stringify(ports));
    await gateway.serveInside(ada.token, shaped, ['python3', '-m', 'http.server', '--bind', '127.0.0.1', '4001'], 4001);
    assert.equal((await gateway.listed(ada.token, shaped, 4001)).label, 'One of many');
    await gateway.call(ada.token, 'DELETE', `/codespaces/${shaped}?force=true`);
  });

  await t.test('it has a small network of its own, our program read-only, and nothing of the engine', async () => {
    site = await make('site');
    await gateway.ready(ada.token, site);
    const networks = [site, held].map((name) => JSON.parse(inspect(name, '{{json .NetworkSettings.Networks}}')));
    const subnets = networks.map((own) => {
      assert.equal(Object.keys(own).length, 1);
      return engine.docker('network', 'inspect', '-f', '{{range .IPAM.Config}}{{.Subnet}}{{end}}', Object.keys(own)[0]);
    });
    for (const subnet of subnets) assert.match(subnet, /^[\d.]+\/28$/);
    assert.notEqual(subnets[0], subnets[1]);

    const mounts = JSON.parse(inspect(site, '{{json .Mounts}}'));
    const told = JSON.stringify(mounts);
    assert.deepEqual(mounts.filter((mount) => mount.RW).map((mount) => [mount.Type, mount.Destination]), [['volume', '/workspaces']], told);
    assert.ok(mounts.some((mount) => mount.Destination === '/portico/bin/portico'), told);
    const written = engine.docker('exec', '-u', '0', container(site), 'sh', '-c', 'chmod u+x /portico/bin/portico 2>&1; true');
    assert.match(written, /Read-only file system/, 'not even by its root');
    assert.ok(!told.includes(engine.socket), told);
    const found = "find / \\( -path /proc -o -path /sys \\) -prune -o -name 'docker*.sock' -print 2>/dev/null; echo end of search";
    assert.equal(engine.docker('exec', '-u', '0', container(site), 'sh', '-c', found), 'end of search');
  });

  await t.test('RESUME-3 a hundred visits wake it once, with what was not committed', async () => {
    await inside(site, 'echo kept > uncommitted.txt');
    await gateway.call(ada.token, 'POST', `/codespaces/${site}/stop`);
    await becomes(() => state(site), 'stopped');
    const before = [(await audit('codespace.started', site)).length, Number(inspect(site, '{{.RestartCount}}'))];
    const since = engine.docker('info', '-f', '{{.SystemTime}}');
    const visit = () => gateway.request({ host: gateway.hostOf(site, PORT), path: '/uncommitted.txt', headers: { 'x-portico-token': ada.token } });
    const first = await Promise.all(Array.from({ length: VISITORS }, visit));
    // On a slow machine the last of them may come when it runs already, before its server does.
    const asleep = first.filter((answer) => answer.status === 503);
    assert.ok(asleep.length > 0, 'whoever wakes it is told to come again');
    for (const answer of asleep) assert.match(answer.headers['retry-after'] ?? '', /^\d+$/, answer.text);
    assert.deepEqual(first.filter((answer) => ![200, 502, 503].includes(answer.status)).map((answer) => `${answer.status} ${answer.text}`), []);

    await gateway.ready(ada.token, site);
    const answered = () => eventually('it is answered', async () => ((answer) => answer.status === 200 && answer.text)(await visit()));
    const later = await Promise.all(Array.from({ length: VISITORS }, answered));
    assert.deepEqual([...new Set(later)], ['kept\n']);

    await becomes(async () => (await audit('codespace.started', site)).length, before[0] + 1);
    assert.equal(Number(inspect(site, '{{.RestartCount}}')), before[1]);
    const until = engine.docker('info', '-f', '{{.SystemTime}}');
    // The filter matches names that begin so too: those of the helpers that put up its fence.
    const begun = engine.docker('events', '--since', since, '--until', until, '--filter', 'event=start', '--filter', `container=${container(site)}`, '--format', '{{.Actor.Attributes.name}}');
    assert.deepEqual(begun.split('\n').filter((started) => started === container(site)), [container(site)], begun);
    assert.equal(await inside(site, 'git status --porcelain'), '?? uncommitted.txt');
  });

  await t.test('a terminal that prints keeps its container awake, a silent open tab does not', async (t) => {
    await gateway.call(ada.token, 'POST', `/codespaces/${held}/terminals`, { cols: 80, rows: 24, command: ['sh', '-c', 'while :; do date; sleep 2; done'] });
    const { person } = await browser(t);
    const tab = await (await person()).newPage();
    await signIn(tab, gateway, ada);
    await tab.goto(gateway.urlOf(site));
    await vscode.workbench(tab);
    const [stops, starts] = [(await audit('codespace.stopped', site)).length, (await audit('codespace.started', site)).length];
    await Promise.all([site, held].map((name) => gateway.call(ada.token, 'PATCH', `/codespaces/${name}`, { idle_timeout_minutes: IDLE })));
    await eventually('the one with the tab stops', async () => (await state(site)) === 'stopped', PATIENCE);
    assert.equal((await view(site)).stopped_because, `nobody used it for ${IDLE} minutes`);
    await eventually('its container stands still', () => inspect(site, '{{.State.Running}}') === 'false');
    const busy = await view(held);
    assert.equal(busy.state, 'running');
    assert.ok(busy.awake_because.includes('output in a terminal'), JSON.stringify(busy.awake_because));
    assert.equal(inspect(held, '{{.State.Running}}'), 'true');
    await becomes(async () => [(await audit('codespace.stopped', site)).length, (await audit('codespace.stopped', held)).length], [stops + 1, 0]);
    // The tab is open still, and tries to come back.
    assert.ok(!tab.isClosed());
    assert.deepEqual([await state(site), (await audit('codespace.started', site)).length], ['stopped', starts]);
    await gateway.call(ada.token, 'POST', `/codespaces/${site}/start`);
    await gateway.ready(ada.token, site);
    assert.equal(await inside(site, 'cat uncommitted.txt'), 'kept');
  });

  await t.test('a limit on its disk is kept, or it is told that this engine cannot', async (t) => {
    const bounded = await Gateway.start(t, { editor: false, config: config(engine, 'disk = "1GiB"\n') });
    const eve = await bounded.user('eve', { admin: true });
    const made = await bounded.call(eve.token, 'POST', '/codespaces', { repository: `${git}/site` });
    const found = await eventually('it runs or failed', async () => {
      const codespace = await bounded.call(eve.token, 'GET', `/codespaces/${made.name}`);
      return ((codespace.state === 'running' && codespace.connected) || codespace.state === 'failed') && codespace;
    });
    if (found.state === 'running') assert.equal(inspect(made.name, '{{index .HostConfig.StorageOpt "size"}}'), String(1 << 30));
    else assert.match(found.stopped_because, /storage-opt/);
    await bounded.call(eve.token, 'DELETE', `/codespaces/${made.name}?force=true`);
  });
});
