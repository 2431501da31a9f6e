// Codespaces as containers of a real engine.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import http from 'node:http';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { Engine, IMAGE, world } from './harness/engine.mjs';
import { eventually } from './harness/eventually.mjs';
import { Gateway } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';
import * as vscode from './harness/vscode.mjs';

const config = (engine, more = '') => `runtime = "docker"
[docker]
socket = "${engine.socket}"
image = "${IMAGE}"
memory = "1GiB"
cpus = "1.5"
processes = 512
${more}`;

test('codespaces are containers', async (t) => {
  const engine = await Engine.start(t);
  const gateway = await Gateway.start(t, { config: config(engine), listen: '0.0.0.0' });
  const address = world(t);
  const project = repository(t, { 'notes.txt': 'first\n' });
  execFileSync('git', ['-C', project, 'config', 'http.receivepack', 'true']);
  const git = await serveRepositories(t, { project, other: repository(t) }, address);
  const ada = await gateway.user('ada', { admin: true });
  const bob = await gateway.user('bob');
  const inside = async (name, command, { token = ada.token, status = 0 } = {}) => (await gateway.exec(token, name, ['bash', '-c', command], { status })).stdout.trim();
  let name;
  let id;

  await t.test('a repository becomes a container with a real editor', async (t) => {
    ({ name } = await gateway.codespace(ada.token, `${git}/project`));
    [id] = engine.names('container').filter((found) => found.endsWith(name));
    assert.equal(engine.docker('inspect', '-f', '{{.State.Running}} {{.HostConfig.Privileged}} {{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}', id), 'true false 1073741824 1500000000 512');
    const { person, shot } = await browser(t);
    const page = await (await person()).newPage();
    await signIn(page, gateway, ada);
    await page.goto(gateway.urlOf(name));
    await vscode.workbench(page);
    await vscode.open(page, 'notes.txt');
    await vscode.replace(page, 'edited in a container\n');
    await eventually('the file is saved', async () => (await inside(name, 'cat notes.txt')) === 'edited in a container');
    await shot(page, 'docker-editor');
  });

  await t.test('what runs inside is the image\'s user, with the image\'s environment', async () => {
    assert.equal(await inside(name, 'echo $(id -u) $HOME $GREETING $CODESPACES; pwd'), '1000 /home/dev hello true\n/workspaces/project');
  });

  await t.test('a server on its 127.0.0.1 is reached by its URL', async () => {
    await gateway.serveInside(ada.token, name, ['python3', '-m', 'http.server', '--bind', '127.0.0.1', '8123'], 8123);
    const answer = await gateway.request({ host: gateway.hostOf(name, 8123), path: '/notes.txt', headers: { 'x-portico-token': ada.token } });
    assert.deepEqual([answer.status, answer.text], [200, 'edited in a container\n']);
  });

  await t.test('it reaches the world, and neither another codespace, this machine, nor metadata', async (t) => {
    const other = await gateway.codespace(bob.token, `${git}/other`);
    const neighbour = engine.docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}}{{end}}', engine.names('container').find((found) => found.endsWith(other.name)));
    const [peer, peerGateway] = neighbour.split(' ');
    await gateway.serveInside(bob.token, other.name, ['python3', '-m', 'http.server', '--bind', '0.0.0.0', '8124'], 8124);
    const own = engine.docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}', id);
    const host = http.createServer((_, response) => response.end('this machine')).listen(0, '0.0.0.0');
    t.after(() => host.close());
    await eventually('the server listens', () => host.address());
    const { port } = host.address();
    const reach = (to, seconds = 3) => inside(name, `curl -s -o /dev/null --max-time ${seconds} -w '%{http_code}' http://${to}/ || true`);
    assert.equal(await reach(`${address}:${port}`, 60), '200', 'the world');
    assert.equal(await reach(`${peer}:8124`), '000', 'another codespace');
    assert.equal(await reach(`${own}:${port}`), '000', 'this machine, by its side of the network');
    const door = `${address}:${gateway.port}`;
    assert.equal((await fetch(`http://${door}/`)).status, 421, 'the gateway listens there too');
    assert.equal(await reach(door), '000', 'the gateway');
    assert.equal(await reach('169.254.169.254'), '000', 'metadata');
    for (const metadata of ['169.254.169.254', '168.63.129.16', '100.100.100.200']) {
      const closed = await inside(name, `timeout 30 bash -c '</dev/tcp/${metadata}/80' 2>&1; true`);
      assert.match(closed, /Permission denied|No route to host|unreachable/i, `metadata at ${metadata} is refused at once`);
    }
    // Bound to the interface a socket asks no route; whoever is on this network answers it, and that is this machine.
    const bound = (to) => inside(name, `python3 -c 'import socket; s = socket.socket(); s.settimeout(3); s.setsockopt(1, socket.SO_BINDTODEVICE, b"eth0"); s.connect(("${to}", ${port}))' 2>/dev/null && echo reached || echo stopped`);
    assert.equal(await bound(address), 'reached', 'the world, whatever the interface');
    assert.equal(await bound(own), 'stopped', 'this machine, past the routes');
    assert.match(await inside(name, 'ip route del prohibit 169.254.0.0/16 2>&1; true'), /not permitted/, 'the fence stays');
    assert.ok(peerGateway, 'the other network has a side of this machine');
    await gateway.call(bob.token, 'DELETE', `/codespaces/${other.name}?force=true`);
    assert.deepEqual(['container', 'network', 'volume'].flatMap((kind) => engine.names(kind)).filter((found) => found.includes(other.name)), [], 'nothing is left of it');
  });

  await t.test('git push works to a server over HTTP', async () => {
    await inside(name, 'git checkout -q -b work && git commit -qam "From inside" && git push -q origin work');
    assert.equal(await inside(name, 'git ls-remote --heads origin work | wc -l'), '1');
    assert.match(await inside(name, 'git log -1 --format=%an'), /ada/);
  });

  await t.test('the gateway starts anew, the container runs on and is taken up again', async () => {
    const started = engine.docker('inspect', '-f', '{{.State.StartedAt}}', id);
    await gateway.kill9();
    await gateway.serve();
    await gateway.ready(ada.token, name);
    assert.equal(engine.docker('inspect', '-f', '{{.State.StartedAt}}', id), started);
    const answer = await gateway.request({ host: gateway.hostOf(name, 8123), path: '/notes.txt', headers: { 'x-portico-token': ada.token } });
    assert.equal(answer.status, 200);
  });

  await t.test('what is not committed and what was installed are there after stop and start', async () => {
    await inside(name, 'echo kept > uncommitted.txt; echo kept > ~/installed');
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/stop`);
    await eventually('it is stopped', async () => (await gateway.call(ada.token, 'GET', `/codespaces/${name}`)).state === 'stopped');
    assert.equal(engine.docker('inspect', '-f', '{{.State.Running}}', id), 'false');
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/start`);
    await gateway.ready(ada.token, name);
    assert.equal(await inside(name, 'cat uncommitted.txt ~/installed'), 'kept\nkept');
  });

  await t.test('a container of no codespace is removed at the next start, its volume stays', async () => {
    const orphan = id.replace(name, 'amber-lost-otter-x7k2');
    const mark = id.split('-')[1];
    engine.docker('run', '-d', '--name', orphan, '--network', 'none', '--label', `portico.instance=${mark}`, '--label', 'portico.codespace=amber-lost-otter-x7k2', '--entrypoint', 'sleep', IMAGE, '600');
    engine.docker('run', '-d', '--name', 'somebody-elses', '--network', 'none', '--label', 'portico.instance=ffffffff', '--label', 'portico.codespace=amber-lost-otter-x7k2', '--entrypoint', 'sleep', IMAGE, '600');
    await gateway.kill9();
    await gateway.serve();
    await eventually('it is gone', () => !engine.names('container').includes(orphan));
    assert.ok(engine.names('container').includes('somebody-elses'));
    await gateway.ready(ada.token, name);
  });

  await t.test('an agent that is killed comes back', async () => {
    engine.docker('kill', id);
    await eventually('it runs again', async () => {
      const codespace = await gateway.call(ada.token, 'GET', `/codespaces/${name}`);
      return codespace.connected && engine.docker('inspect', '-f', '{{.State.Running}}', id) === 'true';
    });
    await gateway.ready(ada.token, name);
    assert.equal(await inside(name, 'cat uncommitted.txt'), 'kept');
  });

  await t.test('a process keeps it awake, asked for inside, where the gateway is out of reach', async () => {
    const activity = () => gateway.call(ada.token, 'GET', `/codespaces/${name}/activity`);
    const lease = await inside(name, 'sleep 100000 >/dev/null 2>&1 & portico keepalive --pid $! --max 2h');
    const [held] = await eventually('it is kept awake', async () => {
      const { leases } = await activity();
      return leases.length === 1 && leases;
    });
    assert.deepEqual([held.id, held.what], [lease, 'sleep']);
    assert.equal(await inside(name, 'stat -c "%a %U" $PORTICO_AGENT_SOCKET'), '600 dev');
    await inside(name, `portico keepalive --end ${lease}`);
    await eventually('it is kept awake no more', async () => (await activity()).leases.length === 0);
    // As long as a command, whose status is its own.
    await inside(name, `portico keepalive --max 1h -- sh -c 'until test -e done; do sleep 1; done; exit 7' >/dev/null 2>&1 & echo $! > kept`);
    await eventually('the command keeps it awake', async () => (await activity()).leases.some((one) => one.what.startsWith('sh -c until')));
    await inside(name, 'touch done');
    await eventually('it is kept awake no more', async () => (await activity()).leases.length === 0);
    await inside(name, 'rm done kept');
    const refused = await gateway.exec(ada.token, name, ['portico', 'keepalive', '--max', '99d', '--', 'true'], { status: null });
    assert.notEqual(refused.status, 0);
    assert.match(refused.stderr, /1day at most/);
    const elsewhere = await gateway.exec(ada.token, name, ['portico', 'ports', 'visibility', '3000:public'], { status: null });
    assert.notEqual(elsewhere.status, 0);
    assert.match(elsewhere.stderr, /on your own machine, after: portico login/);
  });

  await t.test('memory that runs out ends what took it, and nothing else', async () => {
    const hungry = 'python3 -c "x = bytearray(4 << 30)"; echo $?';
    assert.equal(await inside(name, hungry), '137');
    assert.equal(await inside(name, 'cat uncommitted.txt'), 'kept');
  });

  await t.test('a local path is refused, and says what to do', async () => {
    const made = await gateway.api(ada.token, 'POST', '/codespaces', { repository: repository(t) });
    const reason = await eventually('it failed', async () => {
      const found = await gateway.call(ada.token, 'GET', `/codespaces/${made.json.name}`);
      return found.state === 'failed' && found.stopped_because;
    });
    assert.match(reason, /Give the URL of a git server/);
    await gateway.call(ada.token, 'DELETE', `/codespaces/${made.json.name}?force=true`);
  });

  await t.test('an engine that is down is told plainly, and nothing is lost', async () => {
    await engine.halt();
    const made = await gateway.call(bob.token, 'POST', '/codespaces', { repository: `${git}/other` });
    const reason = await eventually('it is told', async () => {
      const found = await gateway.call(bob.token, 'GET', `/codespaces/${made.name}`);
      return found.state === 'failed' && found.stopped_because;
    });
    assert.match(reason, /engine at .* cannot be reached/);
    await engine.run();
    await gateway.api(ada.token, 'POST', `/codespaces/${name}/start`);
    await gateway.ready(ada.token, name);
    assert.equal(await inside(name, 'cat uncommitted.txt'), 'kept');
  });
});

test('an image that cannot be had is told plainly', async (t) => {
  const engine = await Engine.start(t);
  const gateway = await Gateway.start(t, { editor: false, config: config(engine).replace(IMAGE, 'no-such-image:latest') });
  const ada = await gateway.user('ada', { admin: true });
  const git = await serveRepositories(t, { project: repository(t) }, world(t));
  const { name } = await gateway.call(ada.token, 'POST', '/codespaces', { repository: `${git}/project` });
  const failed = await eventually('it failed', async () => {
    const found = await gateway.call(ada.token, 'GET', `/codespaces/${name}`);
    return found.state === 'failed' && found;
  });
  assert.match(failed.stopped_because, /image no-such-image:latest cannot be had/);
});
