// Nothing is lost when a process is killed: the gateway comes back to its agents, and an agent that dies comes back.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { eventually } from './harness/eventually.mjs';
import { Gateway, freePort } from './harness/gateway.mjs';
import { request } from './harness/http.mjs';
import { repository } from './harness/repositories.mjs';
import { Terminal } from './harness/terminal.mjs';

const APP = path.resolve(import.meta.dirname, 'fixtures/app.mjs');

test('kill -9', async (t) => {
  const gateway = await Gateway.start(t, { editor: false });
  const { token } = await gateway.user('ada', { admin: true });
  const { name } = await gateway.codespace(token, repository(t), { editor: false });
  const port = await freePort();
  await gateway.serveInside(token, name, [process.execPath, APP, `${port}`], port);
  await gateway.call(token, 'PATCH', `/codespaces/${name}/ports/${port}`, { visibility: 'public' });
  const shell = await gateway.call(token, 'POST', `/codespaces/${name}/terminals`, { cols: 80, rows: 24, command: ['sh', '-c', 'n=0; while read line; do n=$((n+1)); echo "$n got $line."; done'] });
  const terminal = await new Terminal(gateway, token, name, shell.id).attach();
  terminal.type('before\n');
  await terminal.sees('1 got before.');

  await t.test('a lost connection loses and repeats nothing', async () => {
    await terminal.drop();
    await terminal.attach();
    terminal.type('after a drop\n');
    await terminal.sees('2 got after a drop.');
    assert.equal(terminal.seen.split('1 got before.').length, 2, terminal.seen);
  });

  await t.test('the gateway: everything is there after a restart, agents too, the terminal where it was', async () => {
    const agents = gateway.agents();
    await gateway.kill9();
    await terminal.closed;
    await gateway.serve();
    const restarted = Date.now();
    await eventually('the agent is back', async () => (await gateway.call(token, 'GET', `/codespaces/${name}`)).connected);
    t.diagnostic(`the agent was back ${Date.now() - restarted} ms after the gateway`);
    assert.deepEqual(gateway.agents(), agents, 'the agent is the same process');
    await terminal.attach();
    terminal.type('after the gateway\n');
    await terminal.sees('3 got after the gateway.');
    assert.equal(terminal.redraws, 1, 'only the first attach drew the screen');
    for (const line of ['1 got before.', '2 got after a drop.', '3 got after the gateway.']) {
      assert.equal(terminal.seen.split(line).length, 2, `${line} once, in ${terminal.seen}`);
    }
    await gateway.listed(token, name, port);
    const answer = await request(gateway.port, { host: gateway.hostOf(name, port) });
    assert.equal(answer.status, 200, 'the port is public still, without an account');
  });

  await t.test('the agent: its codespace says so and comes back', async () => {
    await gateway.exec(token, name, ['sh', '-c', 'echo kept > uncommitted.txt']);
    const [agent] = gateway.agents();
    process.kill(agent, 'SIGKILL');
    // It may be back before anybody asks.
    const another = () => gateway.agents().some((pid) => pid !== agent);
    await eventually('the codespace says that its agent is gone', async () => !(await gateway.call(token, 'GET', `/codespaces/${name}`)).connected || another());
    await eventually('another agent runs', another);
    await gateway.ready(token, name, { editor: false });
    assert.notDeepEqual(gateway.agents(), [agent], 'a new agent runs');
    const { stdout } = await gateway.exec(token, name, ['cat', 'uncommitted.txt']);
    assert.equal(stdout, 'kept\n');
  });

  await t.test('stop and start keep uncommitted work', async () => {
    await gateway.call(token, 'POST', `/codespaces/${name}/stop`, {});
    await eventually('it is stopped', async () => (await gateway.call(token, 'GET', `/codespaces/${name}`)).state === 'stopped');
    await eventually('no agent is left', () => gateway.agents().length === 0);
    await gateway.command(['codespace', 'start', name], { token });
    const { stdout } = await gateway.exec(token, name, ['cat', 'uncommitted.txt']);
    assert.equal(stdout, 'kept\n');
  });
});
