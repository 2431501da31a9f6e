// An agent that is linked static runs in images that hold nothing, or another C library. Run by tests/run static, which builds it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { bareImage, Engine, IMAGE, muslImage, world } from '../harness/engine.mjs';
import { eventually } from '../harness/eventually.mjs';
import { Gateway } from '../harness/gateway.mjs';
import { repository, serveRepositories } from '../harness/repositories.mjs';
import { Terminal } from '../harness/terminal.mjs';

const AGENT = process.env.PORTICO_STATIC_AGENT;

test('a static agent', async (t) => {
  assert.ok(AGENT, 'PORTICO_STATIC_AGENT is not set: run this through tests/run static');
  assert.match(execFileSync('file', ['-b', AGENT], { encoding: 'utf8' }), /static-pie linked/);
  assert.doesNotMatch(execFileSync('readelf', ['--program-headers', '--wide', AGENT], { encoding: 'utf8' }), /INTERP/);
  const engine = await Engine.start(t);
  const config = `runtime = "docker"\n[docker]\nsocket = "${engine.socket}"\nimage = "${IMAGE}"\nagent = "${AGENT}"\n`;
  const gateway = await Gateway.start(t, { config });
  const of = (image) => repository(t, { '.devcontainer.json': `{ "image": "${image}", "postCreateCommand": "true" }`, 'notes.txt': 'first\n' });
  const git = await serveRepositories(t, { bare: of(bareImage(t, engine)), musl: of(muslImage(t, engine)) }, world(t));
  const ada = await gateway.user('ada', { admin: true });
  const view = (name) => gateway.call(ada.token, 'GET', `/codespaces/${name}`);
  const step = (name, wanted, state) =>
    eventually(`${wanted} is ${state}`, async () => (await view(name)).steps.find((step) => step.name === wanted && step.state === state));

  await t.test('runs in an image that holds nothing', async (t) => {
    const { name, recovery } = await gateway.codespace(ada.token, `${git}/bare`, { editor: false });
    assert.equal(recovery, null);

    await t.test('commands work, and its files are there', async () => {
      const told = await gateway.exec(ada.token, name, ['/portico/bin/portico', '--version']);
      assert.match(told.stdout, /^portico /);
    });

    await t.test('a terminal says why it has no shell', async () => {
      const refused = await gateway.api(ada.token, 'POST', `/codespaces/${name}/terminals`, { cols: 80, rows: 24 });
      assert.ok(refused.status >= 400, `${refused.status}`);
      assert.match(refused.text, /shell|could not be started/);
    });

    await t.test('the editor and the hook, which need what is not there, say so', async () => {
      assert.match((await step(name, 'editor', 'failed')).detail, /no C library that can run the editor/);
      assert.match((await step(name, 'post_create', 'failed')).detail, /could not be started/);
    });
    await gateway.call(ada.token, 'DELETE', `/codespaces/${name}?force=true`);
  });

  await t.test('runs in an image with another C library', async (t) => {
    const { name, recovery } = await gateway.codespace(ada.token, `${git}/musl`, { editor: false });
    assert.equal(recovery, null);

    await t.test('a terminal has the image\'s shell', async () => {
      const { id } = await gateway.call(ada.token, 'POST', `/codespaces/${name}/terminals`, { cols: 80, rows: 24 });
      const terminal = await new Terminal(gateway, ada.token, name, id).attach();
      terminal.type('cat notes.txt; echo $((6 * 7))-here\n');
      await terminal.sees('first');
      await terminal.sees('42-here');
      await terminal.drop();
    });

    await t.test('a server on its 127.0.0.1 is reached by its URL', async () => {
      await gateway.serveInside(ada.token, name, ['httpd', '-f', '-p', '127.0.0.1:8123', '-h', '/workspaces/musl'], 8123);
      const { status, text } = await gateway.request({ host: gateway.hostOf(name, 8123), path: '/notes.txt', headers: { 'x-portico-token': ada.token } });
      assert.deepEqual([status, text], [200, 'first\n']);
    });

    await t.test('the editor says what it needs, the hook ran', async () => {
      const { detail } = await step(name, 'editor', 'failed');
      assert.match(detail, /no C library that can run the editor: .*ld-linux/);
      assert.match(detail, /image with a current glibc/);
      await step(name, 'post_create', 'done');
    });

    await t.test('stops, and wakes with its files', async () => {
      await gateway.exec(ada.token, name, ['sh', '-c', 'echo kept > uncommitted.txt']);
      await gateway.call(ada.token, 'POST', `/codespaces/${name}/stop`);
      await eventually('it is stopped', async () => (await view(name)).state === 'stopped');
      await gateway.call(ada.token, 'POST', `/codespaces/${name}/start`);
      await gateway.ready(ada.token, name, { editor: false });
      assert.equal((await gateway.exec(ada.token, name, ['cat', 'uncommitted.txt'])).stdout, 'kept\n');
    });
    await gateway.call(ada.token, 'DELETE', `/codespaces/${name}?force=true`);
  });
});
