// An agent that is linked static runs in an image that holds nothing. Run by tests/run static, which builds it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { bareImage, Engine, IMAGE, world } from '../harness/engine.mjs';
import { eventually } from '../harness/eventually.mjs';
import { Gateway } from '../harness/gateway.mjs';
import { repository, serveRepositories } from '../harness/repositories.mjs';

const AGENT = process.env.PORTICO_STATIC_AGENT;

test('a static agent', async (t) => {
  assert.ok(AGENT, 'PORTICO_STATIC_AGENT is not set: run this through tests/run static');
  const described = execFileSync('file', ['-b', AGENT], { encoding: 'utf8' });
  assert.match(described, /static-pie linked/);
  const engine = await Engine.start(t);
  const image = bareImage(t, engine);
  const gateway = await Gateway.start(t, { config: `runtime = "docker"\n[docker]\nsocket = "${engine.socket}"\nimage = "${IMAGE}"\nagent = "${AGENT}"\n` });
  const bare = repository(t, { '.devcontainer.json': `{ "image": "${image}", "postCreateCommand": "true" }` });
  const git = await serveRepositories(t, { bare }, world(t));
  const ada = await gateway.user('ada', { admin: true });
  const { name } = await gateway.codespace(ada.token, `${git}/bare`, { editor: false });
  const view = () => gateway.call(ada.token, 'GET', `/codespaces/${name}`);

  await t.test('runs in an image without a C library, and its ports and commands work', async () => {
    assert.equal((await view()).recovery, null);
    const told = await gateway.exec(ada.token, name, ['/portico/bin/portico', '--version']);
    assert.match(told.stdout, /^portico /);
  });

  await t.test('the editor, which needs one, says so', async () => {
    const editor = await eventually('it is told', async () => (await view()).steps.find((step) => step.name === 'editor' && step.state === 'failed'));
    assert.match(editor.detail, /no C library that can run the editor/);
    const hook = (await view()).steps.find((step) => step.name === 'post_create');
    assert.match(hook.detail, /could not be started/);
  });
  await gateway.call(ada.token, 'DELETE', `/codespaces/${name}?force=true`);
});
