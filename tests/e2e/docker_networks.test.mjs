// As many codespaces on one engine as it has no networks for: engines' own pools end after some thirty.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { Engine, IMAGE, world } from './harness/engine.mjs';
import { eventually } from './harness/eventually.mjs';
import { Gateway } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

const MANY = 40;

test(`${MANY} codespaces have a network each`, async (t) => {
  const engine = await Engine.start(t);
  const gateway = await Gateway.start(t, { editor: false, config: `runtime = "docker"\n[docker]\nsocket = "${engine.socket}"\nimage = "${IMAGE}"\n` });
  const project = repository(t);
  const branches = Array.from({ length: MANY }, (_, at) => `branch-${at}`);
  for (const branch of branches) execFileSync('git', ['branch', branch], { cwd: project });
  const git = await serveRepositories(t, { project }, world(t));
  const ada = await gateway.user('ada');
  const subnet = (network) => engine.docker('network', 'inspect', '-f', '{{range .IPAM.Config}}{{.Subnet}}{{end}}', network);
  const settled = async (name) => {
    const now = await gateway.call(ada.token, 'GET', `/codespaces/${name}`);
    return ((now.state === 'running' && now.connected) || now.state === 'failed') && now;
  };
  const made = [];
  // Few at a time run; what is stopped keeps its network.
  while (branches.length > 0) {
    await Promise.all(branches.splice(0, 4).map(async (ref) => {
      const { name } = await gateway.call(ada.token, 'POST', '/codespaces', { repository: `${git}/project`, ref });
      const now = await eventually(`${name} runs`, () => settled(name));
      assert.equal(now.state, 'running', now.reason);
      await gateway.call(ada.token, 'POST', `/codespaces/${name}/stop`);
      await eventually('it is stopped', async () => (await gateway.call(ada.token, 'GET', `/codespaces/${name}`)).state === 'stopped');
      made.push(name);
    }));
  }
  const networks = engine.names('network');
  assert.equal(networks.length, MANY);
  const subnets = networks.map(subnet);
  assert.equal(new Set(subnets).size, MANY);
  for (const one of subnets) assert.match(one, /^10\.213\.\d+\.\d+\/28$/);
  // What an engine gives by itself would not have been enough.
  const own = [];
  const exhaust = () => {
    while (own.length < MANY) own.push(engine.docker('network', 'create', `own-${own.length}`));
  };
  try {
    assert.throws(exhaust, /non-overlapping IPv4 address pool/);
  } finally {
    engine.docker('network', 'rm', ...own);
  }
  await Promise.all(made.map((name) => gateway.call(ada.token, 'DELETE', `/codespaces/${name}?force=true`)));
  assert.deepEqual(engine.names('network'), [], 'they go with their codespaces');
});
