// Features, found by the reference command line and installed in a build of the gateway's own, on a real engine.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { Engine, IMAGE, world } from './harness/engine.mjs';
import { eventually } from './harness/eventually.mjs';
import { Gateway } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

const CLI = path.resolve(import.meta.dirname, 'node_modules/.bin/devcontainer');

/** A feature of the repository's own; what it asks for is what may be had, and what may not. */
const TOOL = {
  '.devcontainer/tool/devcontainer-feature.json': JSON.stringify({
    id: 'tool',
    version: '1.0.0',
    name: 'Tool',
    options: { flavour: { type: 'string', default: 'sweet' } },
    containerEnv: { TOOL_HOME: '/opt/tool' },
    mounts: [{ source: 'tool-${devcontainerId}', target: '/tool-cache', type: 'volume' }],
    init: true,
    privileged: true,
    entrypoint: '/opt/tool/start',
    postCreateCommand: 'echo of the tool >> /tmp/order',
  }),
  '.devcontainer/tool/install.sh': `#!/bin/sh
set -e
mkdir -p /opt/tool
echo "$FLAVOUR for $_REMOTE_USER by $(id -u)" > /opt/tool/made
(curl -s -o /dev/null --max-time 2 -w '%{http_code}' http://169.254.169.254/ || true) > /opt/tool/metadata
env > /opt/tool/environment
`,
};

const FILE = {
  build: { dockerfile: 'Dockerfile' },
  features: { './tool': { flavour: 'sour' } },
  remoteUser: 'dev',
  postCreateCommand: 'echo of the repository >> /tmp/order',
};

const config = (engine, cli) => `runtime = "docker"
[docker]
socket = "${engine.socket}"
image = "${IMAGE}"
memory = "1GiB"
builds = true
build_cache = "0s"
devcontainer_cli = "${cli}"
`;

test('features are installed', async (t) => {
  const engine = await Engine.start(t);
  const gateway = await Gateway.start(t, { editor: false, config: config(engine, CLI) });
  const dockerfile = { '.devcontainer/Dockerfile': `FROM ${IMAGE}\nENV FROM_DOCKERFILE=yes\n` };
  const broken = { id: 'tool', version: '1.0.0', containerEnv: { A: 'x"\nCOPY --from=c0ffee / /stolen\nENV B="x' } };
  const repositories = {
    project: repository(t, { ...TOOL, ...dockerfile, '.devcontainer/devcontainer.json': JSON.stringify(FILE) }),
    failing: repository(t, { ...TOOL, '.devcontainer/tool/install.sh': '#!/bin/sh\necho the cause\nexit 9\n', '.devcontainer/devcontainer.json': JSON.stringify({ features: { './tool': {} } }) }),
    injecting: repository(t, { ...TOOL, '.devcontainer/tool/devcontainer-feature.json': JSON.stringify(broken), '.devcontainer/devcontainer.json': JSON.stringify({ features: { './tool': {} } }) }),
    depending: repository(t, { ...TOOL, '.devcontainer/tool/devcontainer-feature.json': JSON.stringify({ id: 'tool', version: '1.0.0', dependsOn: { 'https://169.254.169.254/devcontainer-feature-x.tgz': {} } }), '.devcontainer/devcontainer.json': JSON.stringify({ features: { './tool': {} } }) }),
    elsewhere: repository(t, { '.devcontainer/devcontainer.json': JSON.stringify({ features: { 'https://169.254.169.254/devcontainer-feature-x.tgz': {}, node: {}, '0x7f.1:5000/a/b': {} } }) }),
  };
  const git = await serveRepositories(t, repositories, world(t));
  const ada = await gateway.user('ada', { admin: true });
  const inside = async (name, command) => (await gateway.exec(ada.token, name, ['bash', '-c', command])).stdout.trim();
  const view = (name) => gateway.call(ada.token, 'GET', `/codespaces/${name}`);
  const log = async (name) => (await gateway.api(ada.token, 'GET', `/codespaces/${name}/logs`)).text;
  const settled = (name) =>
    eventually('all steps are over', async () => {
      const codespace = await view(name);
      const over = codespace.steps.every((step) => ['done', 'skipped', 'failed'].includes(step.state));
      return codespace.state === 'running' && codespace.connected && over && codespace;
    });
  const make = async (name) => settled((await gateway.codespace(ada.token, `${git}/${name}`, { editor: false })).name);

  await t.test('upon what the Dockerfile makes, by a build in the fenced network', async () => {
    const { name, recovery } = await make('project');
    assert.equal(recovery, null, await log(name));
    assert.equal(await inside(name, 'cat /opt/tool/made; echo $TOOL_HOME $FROM_DOCKERFILE; id -un'), 'sour for dev by 0\n/opt/tool yes\ndev');
    assert.equal(await inside(name, 'cat /opt/tool/metadata'), '000');
    assert.doesNotMatch(await inside(name, 'cat /opt/tool/environment'), /PORTICO|TOKEN/);
    assert.equal(await inside(name, 'cat /tmp/order'), 'of the tool\nof the repository');
    const id = engine.names('container').find((found) => found.endsWith(name));
    assert.equal(engine.docker('inspect', '-f', '{{.HostConfig.Privileged}} {{.HostConfig.Init}}', id), 'false true');
    assert.match(await inside(name, 'cat /proc/mounts'), / \/tool-cache /);
    const keys = (await view(name)).notices.map((notice) => notice.key);
    for (const key of ['privileged of ./tool', 'entrypoint of ./tool']) assert.ok(keys.includes(key), `${key} is not among ${keys}`);
    assert.doesNotMatch(await log(name), new RegExp(gateway.data));
    assert.deepEqual(engine.docker('images', '--format', '{{.Repository}}').split('\n').filter((found) => /dev_container|vsc-|portico-features/.test(found)), [], 'no image by a name that others share');
  });

  await t.test('it stays so over stop and start, and goes with the codespace', async () => {
    const [{ name }] = await gateway.call(ada.token, 'GET', '/codespaces');
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/stop`);
    await eventually('it is stopped', async () => (await view(name)).state === 'stopped');
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/start`);
    await settled(name);
    assert.equal(await inside(name, 'cat /opt/tool/made'), 'sour for dev by 0');
    assert.equal((await view(name)).rebuild_offered, false);
    await gateway.call(ada.token, 'DELETE', `/codespaces/${name}?force=true`);
    assert.equal(engine.docker('images', '-q', '--filter', `label=portico.codespace=${name}`), '');
  });

  await t.test('one that fails opens a recovery container with the log', async (t) => {
    const { name, recovery } = await make('failing');
    assert.match(recovery, /code: 9/);
    assert.match(await log(name), /the cause/);
    const { person, shot } = await browser(t);
    const page = await (await person()).newPage();
    await signIn(page, gateway, ada);
    await page.goto(`${gateway.origin}/codespaces/${name}`);
    await page.getByTestId('recovery').waitFor();
    await shot(page, 'features-recovery');
  });

  await t.test('one that writes instructions of its own is refused', async () => {
    const { name, recovery } = await make('injecting');
    assert.match(recovery ?? '', /c0ffee|refused|cannot be/, await log(name));
  });

  await t.test('one of the repository that depends on an address is refused', async () => {
    const { recovery } = await make('depending');
    assert.match(recovery ?? '', /tool cannot be used: it depends on https:\/\/169\.254\.169\.254/);
    assert.deepEqual(engine.docker('images', '-q', '--filter', 'dangling=true'), '', 'nor does one that failed leave layers');
  });

  await t.test('archives by address and bare names are not fetched, and named', async () => {
    const { name, recovery } = await make('elsewhere');
    assert.equal(recovery, null);
    const { notices } = await view(name);
    for (const key of ['features https://169.254.169.254/devcontainer-feature-x.tgz', 'features node', 'features 0x7f.1:5000/a/b']) assert.ok(notices.some((notice) => notice.key === key), JSON.stringify(notices));
  });

  await t.test('without the command line, that is said with what to do', async () => {
    const bare = await Gateway.start(t, { editor: false, config: config(engine, '') });
    const eve = await bare.user('eve', { admin: true });
    const made = await bare.codespace(eve.token, `${git}/project`, { editor: false });
    const told = await eventually('it is told', async () => (await bare.call(eve.token, 'GET', `/codespaces/${made.name}`)).notices.find((notice) => notice.key === 'features'));
    assert.match(told.reason, /docker\.devcontainer_cli/);
    assert.equal((await bare.call(eve.token, 'GET', `/codespaces/${made.name}`)).recovery, null);
    await bare.call(eve.token, 'DELETE', `/codespaces/${made.name}?force=true`);
  });
});
