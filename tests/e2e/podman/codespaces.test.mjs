// Codespaces as containers of Podman, which answers as a Docker Engine does.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import { IMAGE, world } from '../harness/engine.mjs';
import { eventually } from '../harness/eventually.mjs';
import { Gateway } from '../harness/gateway.mjs';
import { Podman } from '../harness/podman.mjs';
import { repository, serveRepositories } from '../harness/repositories.mjs';
import { Terminal } from '../harness/terminal.mjs';

const config = (engine) => `runtime = "docker"
[docker]
socket = "${engine.socket}"
image = "${IMAGE}"
builds = true
memory = "1GiB"
processes = 512
`;

const CONFIGURED = `{
  "image": "${IMAGE}",
  "containerUser": "root",
  "containerEnv": { "PLACE": "inside" },
  "mounts": ["source=cache,target=/cache,type=volume"],
  "postCreateCommand": "echo $PLACE > /cache/made"
}
`;
const BUILT = { '.devcontainer/devcontainer.json': '{ "build": { "dockerfile": "Dockerfile" } }', '.devcontainer/Dockerfile': `FROM ${IMAGE}\nRUN true\n` };

test('codespaces are containers of Podman', async (t) => {
  const engine = await Podman.start(t);
  const gateway = await Gateway.start(t, { config: config(engine) });
  const outside = world(t);
  const served = { project: repository(t, { 'notes.txt': 'first\n' }), other: repository(t), configured: repository(t, { '.devcontainer.json': CONFIGURED }), built: repository(t, BUILT) };
  const git = await serveRepositories(t, served, outside);
  const ada = await gateway.user('ada', { admin: true });
  const inside = async (name, command) => (await gateway.exec(ada.token, name, ['bash', '-c', command])).stdout.trim();
  const view = (name) => gateway.call(ada.token, 'GET', `/codespaces/${name}`);
  const asked = (name, port) => gateway.request({ host: gateway.hostOf(name, port), path: '/notes.txt', headers: { 'x-portico-token': ada.token } });
  let name;
  let id;

  await t.test('a repository becomes a container with an editor and terminals', async () => {
    ({ name } = await gateway.codespace(ada.token, `${git}/project`));
    [id] = engine.names('container').filter((found) => found.endsWith(name));
    assert.equal(engine.docker('inspect', '-f', '{{.State.Running}} {{.HostConfig.Privileged}} {{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}', id), 'true false 1073741824 512');
    assert.equal(await inside(name, 'echo $(id -u) $HOME $GREETING; pwd; cat notes.txt'), '1000 /home/dev hello\n/workspaces/project\nfirst');
    const editor = await gateway.request({ host: gateway.hostOf(name), path: '/?folder=/workspaces/project', headers: { 'x-portico-token': ada.token } });
    assert.equal(editor.status, 200);
    assert.match(editor.text, /workbench/);
  });

  await t.test('a server on its 127.0.0.1 is reached by its URL', async () => {
    await gateway.serveInside(ada.token, name, ['python3', '-m', 'http.server', '--bind', '127.0.0.1', '8123'], 8123);
    const { status, text } = await asked(name, 8123);
    assert.deepEqual([status, text], [200, 'first\n']);
  });

  await t.test('a terminal is there, and after the gateway starts anew too', async () => {
    const { id: terminal } = await gateway.call(ada.token, 'POST', `/codespaces/${name}/terminals`, { cols: 80, rows: 24 });
    const attached = await new Terminal(gateway, ada.token, name, terminal).attach();
    attached.type('kept=in-the-shell; echo $((6 * 7))-here\n');
    await attached.sees('42-here');
    const started = engine.docker('inspect', '-f', '{{.State.StartedAt}}', id);
    await gateway.kill9();
    await gateway.serve();
    await gateway.ready(ada.token, name);
    assert.equal(engine.docker('inspect', '-f', '{{.State.StartedAt}}', id), started, 'the container ran on');
    await attached.attach();
    attached.type('echo $kept-still\n');
    await attached.sees('in-the-shell-still');
    await attached.drop();
    assert.equal((await asked(name, 8123)).status, 200);
  });

  await t.test('it reaches the world, and neither another codespace, this machine nor metadata', async (t) => {
    const host = http.createServer((_, response) => response.end('this machine')).listen(0, '0.0.0.0');
    t.after(() => host.close());
    await once(host, 'listening');
    const { port } = host.address();
    const own = engine.docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}', id);
    const reach = (to) => inside(name, `curl -s -o /dev/null --max-time 3 -w '%{http_code}' http://${to}/ || true`);
    assert.equal(await reach(`${outside}:${port}`), '200', 'the world');
    assert.equal(await reach(`${own}:${port}`), '000', 'this machine, by its side of the network');
    assert.equal(await reach('169.254.169.254'), '000', 'metadata');
    const other = await gateway.codespace(ada.token, `${git}/other`);
    const peer = engine.docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', engine.names('container').find((found) => found.endsWith(other.name)));
    await gateway.serveInside(ada.token, other.name, ['python3', '-m', 'http.server', '--bind', '0.0.0.0', '8124'], 8124);
    assert.equal(await reach(`${peer}:8124`), '000', 'another codespace');
    await gateway.call(ada.token, 'DELETE', `/codespaces/${other.name}?force=true`);
    const ends = Object.values(networkInterfaces()).find((addresses) => addresses.some(({ address }) => address === own));
    const { address: local } = ends.find(({ address }) => address.startsWith('fe80:'));
    host.close();
    const wide = http.createServer((_, response) => response.end('this machine')).listen(0, '::');
    t.after(() => wide.close());
    await once(wide, 'listening');
    const linked = `python3 -c 'import socket; s = socket.socket(socket.AF_INET6); s.settimeout(3); s.connect(("${local}", ${wide.address().port}, 0, socket.if_nametoindex("eth0")))' 2>/dev/null && echo reached || echo stopped`;
    assert.match(await inside(name, 'cat /proc/net/if_inet6'), /^fe80.* eth0$/m, 'there is such a way');
    assert.equal(await inside(name, linked), 'stopped', 'this machine, by its link-local address');
  });

  await t.test('a repository says what its container is', async () => {
    const { name: configured, recovery } = await gateway.codespace(ada.token, `${git}/configured`);
    assert.equal(recovery, null);
    await eventually('its command ran', async () => (await view(configured)).steps.find((step) => step.name === 'post_create' && step.state === 'done'));
    assert.equal(await inside(configured, 'echo $(id -u) $PLACE; cat /cache/made; stat -c %u . .git'), '0 inside\ninside\n0\n0');
    assert.equal(engine.names('volume').filter((found) => found.includes(configured)).length, 2);
    await gateway.call(ada.token, 'DELETE', `/codespaces/${configured}?force=true`);
    assert.deepEqual(engine.names('volume').filter((found) => found.includes(configured)), [], 'the volume that it mounted went as well');
  });

  await t.test('a repository that asks for a build is told that there is none, and opens', async () => {
    const { name: built, recovery } = await gateway.codespace(ada.token, `${git}/built`);
    assert.match(recovery, /Podman/);
    assert.equal(await inside(built, 'git status --short | wc -l'), '0');
    await gateway.call(ada.token, 'DELETE', `/codespaces/${built}?force=true`);
  });

  await t.test('a container of no codespace is removed at the next start, another gateway\'s stays', async () => {
    const [, mark] = id.split('-');
    const lost = (container, instance) =>
      engine.docker('create', '--name', container, '--network', 'none', '--label', `portico.instance=${instance}`, '--label', 'portico.codespace=amber-lost-otter-x7k2', IMAGE, 'true');
    lost('lost', mark);
    lost('somebody-elses', 'ffffffff');
    await gateway.kill9();
    await gateway.serve();
    await eventually('it is gone', () => !engine.names('container').includes('lost'));
    assert.ok(engine.names('container').includes('somebody-elses'));
    engine.docker('rm', 'somebody-elses');
    await gateway.ready(ada.token, name);
  });

  await t.test('a visit wakes what was stopped, and its files are there', async () => {
    await inside(name, 'echo kept > uncommitted.txt; echo kept > ~/installed');
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/stop`);
    await eventually('it is stopped', async () => (await view(name)).state === 'stopped');
    assert.equal(engine.docker('inspect', '-f', '{{.State.Running}}', id), 'false');
    assert.equal((await asked(name)).status, 503, 'a visit wakes it');
    await gateway.ready(ada.token, name);
    assert.equal(await inside(name, 'cat uncommitted.txt ~/installed'), 'kept\nkept');
  });

  await t.test('deleting leaves nothing behind', async () => {
    await gateway.call(ada.token, 'DELETE', `/codespaces/${name}?force=true`);
    assert.deepEqual(['container', 'network', 'volume'].flatMap((kind) => engine.names(kind)), []);
  });
});
