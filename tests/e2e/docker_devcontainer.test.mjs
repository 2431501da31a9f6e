// A repository's devcontainer.json and Dockerfile become its container, on a real engine.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { bareImage, Engine, IMAGE, world } from './harness/engine.mjs';
import { eventually } from './harness/eventually.mjs';
import { Gateway } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';
import * as vscode from './harness/vscode.mjs';

/** A file that exists if anything of a repository ever ran on this machine. */
const OWNED = `/tmp/portico-owned-${process.pid}`;

const DEVCONTAINER = `{
  // What the team uses.
  "name": "App",
  "build": { "dockerfile": "Dockerfile", "context": "..", "args": { "FLAVOUR": "sweet" }, "cacheFrom": "nothing" },
  "initializeCommand": "touch ${OWNED}",
  "remoteUser": "root",
  "workspaceFolder": "/workspaces/\${localWorkspaceFolderBasename}/web",
  "containerEnv": { "PLACE": "\${containerWorkspaceFolder}" },
  "remoteEnv": { "PATH": "\${containerEnv:PATH}:/opt/team", "GREETING": null },
  "mounts": ["source=cache-\${devcontainerId},target=/cache,type=volume", "source=/,target=/host,type=bind"],
  "runArgs": ["--cap-add=SYS_PTRACE", "--privileged"],
  "hostRequirements": { "memory": "64gb" },
  "onCreateCommand": "echo one >> /order; echo building $PLACE",
  "updateContentCommand": ["sh", "-c", "echo two >> /order"],
  "postCreateCommand": { "first": "echo three >> /order; echo from first", "second": ["sh", "-c", "echo from second"] },
  "postStartCommand": "echo four >> /order",
  "forwardPorts": [3000],
}`;

const DOCKERFILE = `FROM ${IMAGE}
ARG FLAVOUR
USER root
COPY . /seen
RUN mkdir -p /opt/team && echo $FLAVOUR > /opt/team/flavour && echo cooking
RUN (curl -s -o /dev/null --max-time 2 -w '%{http_code}' http://169.254.169.254/ || true) > /opt/team/metadata; ip route > /opt/team/routes
USER dev
`;

const config = (engine, builds = true) => `runtime = "docker"
[docker]
socket = "${engine.socket}"
image = "${IMAGE}"
memory = "1GiB"
builds = ${builds}
`;

/** Commits files to a repository as somebody else would. */
function commit(directory, files) {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(directory, name)), { recursive: true });
    writeFileSync(path.join(directory, name), text);
  }
  execFileSync('git', ['-c', 'user.name=T', '-c', 'user.email=t@example.org', 'commit', '-qam', 'Change'], { cwd: directory });
}

test('a repository says what its container is', async (t) => {
  rmSync(OWNED, { force: true });
  const engine = await Engine.start(t);
  const gateway = await Gateway.start(t, { config: config(engine) });
  const project = repository(t, {
    '.devcontainer/devcontainer.json': DEVCONTAINER,
    '.devcontainer/Dockerfile': DOCKERFILE,
    '.dockerignore': '**/secret.txt\n.git\n',
    'web/notes.txt': 'first\n',
    'web/secret.txt': 'not for the image\n',
  });
  const plain = repository(t);
  const broken = repository(t, { '.devcontainer.json': '{ "build": { "dockerfile": "Dockerfile" }, "postCreateCommand": "touch ran" }', Dockerfile: `FROM ${IMAGE}\nRUN echo the cause; exit 7\n` });
  const missing = repository(t, { '.devcontainer.json': '{ "image": "no-such-image:latest" }' });
  const failing = repository(t, { '.devcontainer.json': '{ "onCreateCommand": "echo what is wrong >&2; exit 3", "postCreateCommand": "touch late" }' });
  const linked = repository(t, { '.devcontainer.json': '{ "build": { "dockerfile": "out/passwd" } }' });
  symlinkSync('/etc', path.join(linked, 'out'));
  execFileSync('git', ['-C', linked, 'add', '-A']);
  commit(linked, {});
  const bare = repository(t, { '.devcontainer.json': `{ "image": "${bareImage(t, engine)}" }` });
  const many = repository(t, { 'services/api/one.json': '{ "containerEnv": { "CHOSEN": "yes" } }' });
  const git = await serveRepositories(t, { project, plain, broken, missing, failing, linked, bare, many }, world(t));
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
  const rebuilt = async (name) => {
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/rebuild`);
    return settled(name);
  };
  const state = (codespace, name) => codespace.steps.find((step) => step.name === name)?.state;
  let name;

  await t.test('a Dockerfile and a devcontainer.json become a container with a real editor', async (t) => {
    ({ name } = await gateway.codespace(ada.token, `${git}/project`));
    const codespace = await settled(name);
    const steps = codespace.steps.map((step) => step.name).filter((name) => !['dotfiles', 'extensions'].includes(name));
    assert.deepEqual(steps, ['storage', 'agent', 'clone', 'image', 'on_create', 'update_content', 'editor', 'post_create', 'post_start', 'history']);
    assert.deepEqual(['clone', 'image', 'on_create', 'update_content', 'editor', 'post_create', 'post_start'].map((step) => state(codespace, step)), Array(7).fill('done'));
    assert.equal(codespace.recovery, null);
    assert.equal(codespace.rebuild_offered, false);
    const { person, shot } = await browser(t);
    const page = await (await person()).newPage();
    await signIn(page, gateway, ada);
    await page.goto(gateway.urlOf(name));
    await vscode.workbench(page);
    await vscode.open(page, 'notes.txt');
    await vscode.replace(page, 'edited\n');
    await eventually('the file is saved', async () => (await inside(name, 'cat notes.txt')) === 'edited');
    await shot(page, 'devcontainer-editor');
  });

  await t.test('hooks ran in order, with their logs; nothing ran on this machine', async () => {
    assert.equal(await inside(name, 'cat /order'), 'one\ntwo\nthree\nfour');
    for (const said of ['Step 1/', 'cooking', '== onCreateCommand', 'building /workspaces/project/web', '[first] from first', '[second] from second', '== postStartCommand']) {
      await eventually(`the log says ${said}`, async () => (await log(name)).includes(said));
    }
    assert.ok(!existsSync(OWNED));
  });

  await t.test('build arguments, ignored files, user, folder, environment and volumes are as written', async () => {
    assert.equal(await inside(name, 'cat /opt/team/flavour; ls /seen/web; pwd; id -u; echo $PLACE ${GREETING-none}; echo $PATH'), 'sweet\nnotes.txt\n/workspaces/project/web\n0\n/workspaces/project/web none\n' + (await inside(name, 'echo $PATH')));
    assert.match(await inside(name, 'echo $PATH'), /:\/opt\/team$/);
    assert.equal(await inside(name, 'git -C /workspaces/project status --porcelain; touch /cache/x && stat -c %u /workspaces/project/web/notes.txt'), 'M web/notes.txt\n0');
    const id = engine.names('container').find((found) => found.endsWith(name));
    assert.equal(engine.docker('inspect', '-f', '{{.HostConfig.Privileged}} {{.HostConfig.CapAdd}}', id), 'false [SYS_PTRACE]');
  });

  await t.test('what a Dockerfile runs is fenced as the codespace is', async () => {
    assert.equal(await inside(name, 'cat /opt/team/metadata'), '000');
    // The fence is a step away, where nothing of the build's own namespace leads past it: docker/builds.test.mjs.
    assert.match(await inside(name, 'cat /opt/team/routes'), /^default via \S+ dev eth0 .*onlink\s*$/);
  });

  await t.test('what is not heeded is named', async () => {
    const { notices } = await view(name);
    const keys = notices.map((notice) => notice.key);
    for (const key of ['initializeCommand', 'build.cacheFrom', 'mounts', 'runArgs --privileged', 'hostRequirements.memory']) assert.ok(keys.includes(key), `${key} is not among ${keys}`);
  });

  await t.test('a start runs only what belongs to each start', async () => {
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/stop`);
    await eventually('it is stopped', async () => (await view(name)).state === 'stopped');
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/start`);
    await settled(name);
    assert.equal(await inside(name, 'cat /order'), 'one\ntwo\nthree\nfour\nfour');
  });

  await t.test('a change offers a rebuild, which keeps what is not committed', async (t) => {
    await inside(name, `cd /workspaces/project && sed -i 's/sweet/sour/' .devcontainer/devcontainer.json && touch /gone`);
    await eventually('a rebuild is offered', async () => (await view(name)).rebuild_offered);
    const { person, shot } = await browser(t);
    const page = await (await person()).newPage();
    await signIn(page, gateway, ada);
    await page.goto(`${gateway.origin}/codespaces/${name}`);
    await page.getByTestId('rebuild-offer').waitFor();
    await page.getByTestId('notices').locator('summary').click();
    await shot(page, 'devcontainer-offer');
    await page.getByTestId('rebuild').click();
    const begun = page.waitForResponse((answer) => answer.url().endsWith('/rebuild') && answer.ok());
    await page.getByTestId('confirm-rebuild').click();
    await begun;
    await shot(page, 'devcontainer-steps');
    const codespace = await settled(name);
    assert.equal(codespace.rebuild_offered, false);
    assert.equal(await inside(name, 'cat /opt/team/flavour notes.txt /order; ls /gone 2>&1 || true'), 'sour\nedited\none\ntwo\nthree\nfour\nls: cannot access \'/gone\': No such file or directory');
    assert.equal(engine.docker('images', '-q', '--filter', `label=portico.codespace=${name}`).split('\n').length, 1, 'the image before is gone');
  });

  await t.test('a rebuild that fails keeps the container that there was', async () => {
    await inside(name, 'cd /workspaces/project && echo "RUN exit 9" >> .devcontainer/Dockerfile');
    const codespace = await rebuilt(name);
    assert.equal(await inside(name, 'cat /opt/team/flavour'), 'sour');
    const told = codespace.notices.find((notice) => notice.key === 'rebuild') ?? (await eventually('it is told', async () => (await view(name)).notices.find((notice) => notice.key === 'rebuild')));
    assert.match(told.reason, /code: 9/);
    await eventually('the log says it', async () => (await log(name)).includes('RUN exit 9'));
    await eventually('a rebuild is offered', async () => (await view(name)).rebuild_offered);
  });

  await t.test('a build that fails opens a recovery container with the log; mended, it is rebuilt by the command line', async (t) => {
    const made = await gateway.codespace(ada.token, `${git}/broken`);
    const codespace = await eventually('it is told', async () => (await view(made.name)).recovery && settled(made.name));
    assert.match(codespace.recovery, /code: 7/);
    assert.equal(state(codespace, 'image'), 'failed');
    assert.equal(state(codespace, 'post_create'), 'skipped');
    await eventually('the log says why', async () => (await log(made.name)).includes('the cause'));
    const { person, shot } = await browser(t);
    const page = await (await person()).newPage();
    await signIn(page, gateway, ada);
    await page.goto(`${gateway.origin}/codespaces/${made.name}`);
    await page.getByTestId('recovery').waitFor();
    await shot(page, 'devcontainer-recovery');
    await inside(made.name, `echo mine > mine && printf 'FROM ${IMAGE}\\nRUN true\\n' > Dockerfile`);
    const told = await gateway.command(['codespace', 'rebuild', made.name], { token: ada.token });
    assert.match(told.stderr, /Open it/);
    assert.equal((await settled(made.name)).recovery, null);
    assert.equal(await inside(made.name, 'cat mine; ls ran'), 'mine\nran');
  });

  await t.test('an image that is missing opens a recovery container', async () => {
    const made = await gateway.codespace(ada.token, `${git}/missing`);
    const codespace = await eventually('it is told', async () => (await view(made.name)).recovery && settled(made.name));
    assert.match(codespace.recovery, /no-such-image:latest cannot be had/);
    assert.equal(await inside(made.name, 'cat .devcontainer.json'), '{ "image": "no-such-image:latest" }');
  });

  await t.test('an image that cannot run the agent opens a recovery container', async () => {
    const made = await gateway.codespace(ada.token, `${git}/bare`);
    const codespace = await eventually('it is told', async () => (await view(made.name)).recovery && settled(made.name));
    assert.match(codespace.recovery, /agent does not run in the image portico-bare:latest/);
  });

  await t.test('links out of the repository are not followed', async () => {
    const made = await gateway.codespace(ada.token, `${git}/linked`);
    const codespace = await eventually('it is told', async () => (await view(made.name)).recovery && settled(made.name));
    assert.match(codespace.recovery, /out\/passwd is a link/);
  });

  await t.test('a hook that fails is told with its log, and the codespace can be used', async () => {
    const made = await gateway.codespace(ada.token, `${git}/failing`);
    const codespace = await settled(made.name);
    assert.equal(codespace.recovery, null);
    assert.equal(codespace.editor, 'ready');
    const step = codespace.steps.find((step) => step.name === 'on_create');
    assert.equal(step.state, 'failed');
    assert.match(step.detail, /exit status: 3[\s\S]*what is wrong/);
    assert.equal(state(codespace, 'post_create'), 'skipped');
    assert.equal(await inside(made.name, 'ls late 2>/dev/null || echo none'), 'none');
  });

  await t.test('the file that was chosen counts, and a repository without one has the default container', async () => {
    const made = await gateway.api(ada.token, 'POST', '/codespaces', { repository: `${git}/many`, devcontainer_path: 'services/api/one.json' });
    await settled(made.json.name);
    assert.equal(await inside(made.json.name, 'echo $CHOSEN'), 'yes');
    const other = await gateway.codespace(ada.token, `${git}/plain`);
    assert.equal(state(await settled(other.name), 'image'), undefined);
  });

  await t.test('deleting leaves nothing behind', async () => {
    // Their logs go with the containers.
    engine.listen();
    for (const codespace of await gateway.call(ada.token, 'GET', '/codespaces')) await gateway.call(ada.token, 'DELETE', `/codespaces/${codespace.name}?force=true`);
    assert.deepEqual(['container', 'network', 'volume'].flatMap((kind) => engine.names(kind)), []);
    assert.equal(engine.docker('volume', 'ls', '-q'), '', 'volumes that mounts made went as well');
    assert.equal(engine.docker('images', '-q', '--filter', 'label=portico.codespace'), '');
  });
});

test('a gateway builds nothing unless its operator allows it', async (t) => {
  const engine = await Engine.start(t);
  const gateway = await Gateway.start(t, { config: config(engine, false) });
  const wanting = repository(t, { '.devcontainer.json': '{ "build": { "dockerfile": "Dockerfile" } }', Dockerfile: `FROM ${IMAGE}\n` });
  const git = await serveRepositories(t, { wanting }, world(t));
  const ada = await gateway.user('ada', { admin: true });
  const { name } = await gateway.codespace(ada.token, `${git}/wanting`);
  const codespace = await eventually('it is told', async () => {
    const codespace = await gateway.call(ada.token, 'GET', `/codespaces/${name}`);
    return codespace.recovery && codespace.state === 'running' && codespace;
  });
  assert.match(codespace.recovery, /this gateway builds no images; its operator can allow it with docker\.builds/);
  assert.equal(engine.docker('images', '-q', '--filter', 'label=portico.codespace'), '');
});
