// Services of a repository's Compose file beside its codespace, on a real engine: reached by name, fenced, and gone with it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import net from 'node:net';
import { test } from 'node:test';
import { Engine, IMAGE, world } from './harness/engine.mjs';
import { eventually } from './harness/eventually.mjs';
import { BINARY, Gateway, environment } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

/** Counts its visitors where its volume is; `end` ends it as a crash would. */
const DATABASE = `import os, socket
listening = socket.create_server(('0.0.0.0', 5432))
print('ready for visitors', flush=True)
while True:
    visitor, _ = listening.accept()
    said = visitor.recv(100)
    if said == b'end': os._exit(3)
    if said == b'count':
        try: count = int(open('/var/lib/db/count').read())
        except OSError: count = 0
        with open('/var/lib/db/count', 'w') as file: file.write(str(count + 1))
        visitor.sendall(str(count + 1).encode())
    visitor.close()
`;

const ASK = `import socket, sys
visitor = socket.create_connection((sys.argv[1], 5432), timeout=float(sys.argv[3]))
visitor.sendall(sys.argv[2].encode())
print(visitor.recv(100).decode())
`;

const COMPOSE = `x-common: &common
  image: ${IMAGE}
  restart: unless-stopped
services:
  app:
    build:
      context: ..
      dockerfile: .devcontainer/Dockerfile
    command: sleep infinity
    volumes:
      - ..:/workspace:cached
      - shared:/shared
      - /var/run/docker.sock:/var/run/docker.sock
    environment:
      DB_NAME: \${DB_NAME:-none}
    depends_on:
      db: { condition: service_healthy }
  db:
    <<: *common
    user: root
    privileged: true
    command: python3 /srv/db/server.py
    volumes: [data:/var/lib/db, ../db:/srv/db:ro]
    ports: ['5432:5432']
    networks: { default: { aliases: [database] } }
    healthcheck:
      test: [CMD, python3, -c, "import socket; socket.create_connection(('127.0.0.1', 5432), 5)"]
      interval: 1s
      timeout: 30s
      retries: 100
  shop:
    <<: *common
    command: python3 -m http.server --bind 0.0.0.0 8090
    working_dir: /srv/shown
    volumes: [../db:/srv/shown]
  near:
    <<: *common
    network_mode: service:app
    working_dir: /srv/shown
    command: python3 -m http.server --bind 127.0.0.1 6380
    volumes: [../db:/srv/shown]
volumes:
  data:
  shared:
`;

const DEVCONTAINER = `{ "dockerComposeFile": "compose.yml", "service": "app", "workspaceFolder": "/workspace/db",
  "forwardPorts": ["shop:8090", "db:5432", "shop:5432", "gone:7000", "near:6380"],
  "portsAttributes": { "db:5432": { "label": "Visitors" } } }`;

const config = (engine) => `runtime = "docker"
[docker]
socket = "${engine.socket}"
image = "${IMAGE}"
memory = "1GiB"
builds = true
`;

test('services run beside a codespace', async (t) => {
  const engine = await Engine.start(t);
  const gateway = await Gateway.start(t, { editor: false, config: config(engine) });
  const files = { 'db/server.py': DATABASE, 'db/ask.py': ASK, '.devcontainer/Dockerfile': `FROM ${IMAGE}\nENV BUILT=yes\n`, '.devcontainer/.env': 'DB_NAME=team\n' };
  const failing = '{services: {app: {image: "' + IMAGE + '", depends_on: {db: {condition: service_healthy}}}, db: {image: "' + IMAGE + '", command: [sh, -c, "echo the cause; exit 3"]}}}';
  const repositories = {
    project: repository(t, { ...files, '.devcontainer/compose.yml': COMPOSE, '.devcontainer/devcontainer.json': DEVCONTAINER }),
    failing: repository(t, { 'compose.yml': failing, '.devcontainer.json': '{ "dockerComposeFile": "compose.yml", "service": "app" }' }),
    plain: repository(t, { 'ask.py': ASK }),
  };
  const git = await serveRepositories(t, repositories, world(t));
  const ada = await gateway.user('ada', { admin: true });
  const bob = await gateway.user('bob');
  const inside = async (name, command, { token = ada.token, status = 0 } = {}) => (await gateway.exec(token, name, ['bash', '-c', command], { status })).stdout.trim();
  const view = (name) => gateway.call(ada.token, 'GET', `/codespaces/${name}`);
  const log = async (name) => (await gateway.api(ada.token, 'GET', `/codespaces/${name}/logs`)).text;
  const settled = (name) =>
    eventually('all steps are over', async () => {
      const codespace = await view(name);
      if (codespace.state === 'failed') throw Object.assign(new Error(JSON.stringify(codespace)), { fatal: true });
      const over = codespace.steps.every((step) => ['done', 'skipped', 'failed'].includes(step.state));
      const made = codespace.recovery || codespace.steps.some((step) => step.name === 'image' && step.state === 'done');
      return codespace.state === 'running' && codespace.connected && over && made && codespace;
    }, { seconds: 180 });
  const woken = (name) => eventually('it runs', async () => (({ state, connected }) => state === 'running' && connected)(await view(name)));
  const stopped = async (name) => {
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/stop`);
    await eventually('it is stopped', async () => (await view(name)).state === 'stopped');
  };
  const { name } = await gateway.call(ada.token, 'POST', '/codespaces', { repository: `${git}/project` });
  const count = (host = 'db') => inside(name, `python3 /workspaces/project/db/ask.py ${host} count 30`);
  const of = (service) => engine.names('container').find((found) => found.endsWith(`${name}_service_${service}`));
  const inspect = (service, format) => engine.docker('inspect', '-f', format, of(service));
  const exec = (service, ...command) => engine.docker('exec', of(service), ...command);

  await t.test('it comes up with them, and reaches them by name and by localhost', async () => {
    const codespace = await settled(name);
    assert.equal(codespace.recovery, null, await log(name));
    assert.equal(codespace.rebuild_offered, false);
    assert.equal(await count(), '1');
    assert.equal(await count('database'), '2');
    assert.equal(await inside(name, 'echo $BUILT $DB_NAME; pwd; readlink /workspace; ls /workspace/db'), 'yes team\n/workspaces/project/db\n/workspaces/project\nask.py\nserver.py');
    assert.match(await inside(name, 'curl -s http://127.0.0.1:6380/ask.py'), /^import socket, sys/);
    await gateway.listed(ada.token, name, 6380);
    const answer = await gateway.request({ host: gateway.hostOf(name, 6380), path: '/ask.py', headers: { 'x-portico-token': ada.token } });
    assert.deepEqual([answer.status, answer.text], [200, ASK]);
    await eventually('the log shows theirs', async () => (await log(name)).includes('[db] ready for visitors'));
  });

  await t.test('what would reach out is refused and named', async () => {
    const { notices } = await view(name);
    const keys = notices.map((notice) => notice.key);
    for (const key of ['services.app.volumes', 'services.db.privileged', 'services.db.ports']) assert.ok(keys.includes(key), `${key} is not among ${keys}`);
    assert.equal(inspect('db', '{{.HostConfig.Privileged}} {{.HostConfig.PortBindings}} {{.HostConfig.CapAdd}} {{.HostConfig.Memory}} {{.HostConfig.Binds}}'), `false map[] [] ${Math.floor(2 ** 30 / 3)} []`);
    assert.match(exec('db', 'sh', '-c', 'touch /srv/db/written 2>&1; true'), /Read-only/);
    for (const container of engine.names('container')) {
      const mounts = JSON.parse(engine.docker('inspect', '-f', '{{json .Mounts}}', container));
      assert.ok(mounts.every((mount) => mount.Type === 'volume' || (!mount.RW && mount.Destination.startsWith('/portico/'))), JSON.stringify(mounts));
    }
  });

  const listedPort = async (port) => (await gateway.call(ada.token, 'GET', `/codespaces/${name}/ports`)).find((row) => row.port === port);
  const atUrl = (port, path, token = ada.token) => gateway.request({ host: gateway.hostOf(name, port), path, headers: { 'x-portico-token': token } });

  /** A port of the codespace on this machine, by the command line. */
  const forwarded = async (port) => {
    const child = spawn(BINARY, ['ports', 'forward', `${port}:0`, '-c', name, '--json'], { stdio: ['ignore', 'pipe', 'pipe'], env: environment({ PORTICO_URL: gateway.origin, PORTICO_TOKEN: ada.token }) });
    t.after(() => child.kill('SIGKILL'));
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk) => (stdout += chunk));
    child.stderr.on('data', (chunk) => (stderr += chunk));
    await eventually('it forwards', () => {
      if (child.exitCode !== null) throw Object.assign(new Error(`it ended with ${child.exitCode}: ${stderr}`), { fatal: true });
      return /Forwarding/.test(stderr) && JSON.parse(stdout);
    });
    return { child, local: Number(JSON.parse(stdout)[0].local.split(':').at(-1)) };
  };

  await t.test('ports of services that forwardPorts names are ports of the codespace, for its owner alone', async () => {
    const shown = async (port) => {
      const { label, visibility, process } = await gateway.listed(ada.token, name, port);
      return { label, visibility, process };
    };
    assert.deepEqual(await shown(8090), { label: 'shop:8090', visibility: 'private', process: 'shop' });
    assert.deepEqual(await shown(5432), { label: 'Visitors', visibility: 'private', process: 'db' });
    const answer = await atUrl(8090, '/ask.py');
    assert.deepEqual([answer.status, answer.text], [200, ASK]);
    const refused = await atUrl(8090, '/ask.py', bob.token);
    const absent = await atUrl(8091, '/ask.py', bob.token);
    assert.deepEqual([refused.status, absent.status], [404, 404]);
    assert.ok(!refused.text.includes('shop'), refused.text);

    const { child, local } = await forwarded(5432);
    const before = Number(await count());
    const said = await new Promise((done, fail) => {
      const visitor = net.connect(local, '127.0.0.1', () => visitor.write('count'));
      let text = '';
      visitor.on('data', (bytes) => (text += bytes)).on('end', () => done(text)).on('error', fail);
    });
    assert.equal(Number(said), before + 1);
    child.kill('SIGTERM');
  });

  await t.test('of two with one number the first has it, one that nobody has is said, and one of its own is its own', async () => {
    const { notices } = await view(name);
    const reason = (key) => notices.find((notice) => notice.key === key)?.reason ?? '';
    assert.match(reason('forwardPorts shop:5432'), /^db:5432 is before it/);
    assert.match(reason('forwardPorts gone:7000'), /no service of that name/);
    assert.equal(reason('forwardPorts near:6380'), '');
    assert.equal((await listedPort(6380)).label, null);
  });

  await t.test('a server of the codespace itself takes the number, and gives it back', async () => {
    const taken = async () => (await view(name)).notices.some((notice) => notice.key === 'forwardPorts shop:8090' && /listens on 8090 in the codespace itself/.test(notice.reason));
    assert.equal(await taken(), false);
    const command = ['bash', '-c', 'mkdir -p /tmp/own && echo own > /tmp/own/own.txt && exec python3 -m http.server --bind 127.0.0.1 --directory /tmp/own 8090'];
    const terminal = await gateway.call(ada.token, 'POST', `/codespaces/${name}/terminals`, { cols: 80, rows: 24, command });
    await eventually('its own is listed', async () => (await listedPort(8090)).process === 'python3');
    await eventually('it is told', taken);
    assert.equal((await listedPort(8090)).label, null);
    assert.equal((await atUrl(8090, '/own.txt')).text, 'own\n');
    await gateway.call(ada.token, 'PATCH', `/codespaces/${name}/ports/8090`, { visibility: 'public' });
    assert.equal((await atUrl(8090, '/own.txt', bob.token)).text, 'own\n');
    assert.match(await inside(name, 'curl -s http://shop:8090/ask.py'), /^import socket, sys/, 'the other is reached by its name');
    await gateway.call(ada.token, 'DELETE', `/codespaces/${name}/terminals/${terminal.id}`);
    await eventually("the service's is listed", async () => (await listedPort(8090)).process === 'shop');
    const shop = await atUrl(8090, '/ask.py', bob.token);
    assert.deepEqual([shop.status, (await listedPort(8090)).visibility], [404, 'private'], 'what was shared was its own server');
    await eventually('it is no longer told', async () => !(await taken()));
    assert.equal((await atUrl(8090, '/ask.py')).text, ASK);
  });

  await t.test('one that does not answer is told as such, and has its port again when it does', async () => {
    engine.docker('stop', '-t', '0', of('shop'));
    const answer = await eventually('its owner is told whose it is', async () => {
      const answer = await gateway.request({ host: gateway.hostOf(name, 8090), path: '/', headers: { 'x-portico-token': ada.token, accept: 'text/html' } });
      return answer.text.includes('which runs beside') && answer;
    });
    assert.equal(answer.status, 502);
    assert.match(answer.text, /port 8090 of shop, which runs beside/);
    await eventually('it is listed as not listening', async () => !(await listedPort(8090)).listening);
    engine.docker('start', of('shop'));
    await gateway.listed(ada.token, name, 8090);
    assert.equal((await atUrl(8090, '/ask.py')).text, ASK);
  });

  const other = await gateway.codespace(bob.token, `${git}/plain`, { editor: false });
  const reached = (service, to) => exec(service, 'sh', '-c', `curl -s -o /dev/null --max-time 5 -w '%{http_code}' http://${to}/ || true`);
  const fenced = async () => {
    const id = engine.names('container').find((found) => found.endsWith(other.name));
    const [peer] = engine.docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', id).split(' ');
    for (const service of ['db', 'near']) {
      assert.equal(reached(service, '169.254.169.254'), '000', `metadata from ${service}`);
      assert.equal(reached(service, `${peer}:8124`), '000', `another codespace from ${service}`);
    }
  };

  await t.test('another codespace does not reach them, nor they another or this machine', async () => {
    await gateway.serveInside(bob.token, other.name, ['python3', '-m', 'http.server', '--bind', '0.0.0.0', '8124'], 8124);
    await fenced();
    const network = engine.names('container').find((found) => found.endsWith(`${name}_net_db`));
    const [address, side] = engine.docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}}{{end}}', network).split(' ');
    const from = (to) => inside(other.name, `python3 ask.py ${to} count 5 2>&1 || echo stopped`, { token: bob.token });
    assert.match(await from(address), /stopped$/);
    assert.match(await from('db'), /stopped$/);
    assert.match(await inside(name, `python3 ask.py ${address} count 30`), /^[0-9]+$/, 'the address is the right one');
    assert.match(exec('db', 'python3', '-c', `import socket, errno
try: socket.create_connection(('${side}', 22), 5)
except OSError as error: print(errno.errorcode.get(error.errno, error))`), /EACCES|EHOSTUNREACH/, 'this machine is refused');
  });

  await t.test('one that crashes comes back behind the fence', async () => {
    const before = inspect('db', '{{.State.StartedAt}}');
    await inside(name, 'python3 ask.py db end 30');
    await eventually('it is there again', async () => inspect('db', '{{.State.StartedAt}} {{.State.Health.Status}}').match(`^(?!${before}).* healthy$`));
    assert.equal(await count(), '6');
    await fenced();
  });

  await t.test('they run on while the gateway starts anew', async () => {
    const started = ['db', 'near'].map((service) => inspect(service, '{{.State.StartedAt}}'));
    await gateway.kill9();
    await gateway.serve();
    await woken(name);
    assert.deepEqual(['db', 'near'].map((service) => inspect(service, '{{.State.StartedAt}}')), started);
    assert.equal(await count(), '7');
  });

  await t.test('they stop and wake with it, and keep what is in their volumes', async () => {
    await stopped(name);
    const running = engine.docker('ps', '--format', '{{.Names}}').split('\n').filter((found) => found.includes(name));
    assert.deepEqual(running, []);
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/start`);
    await woken(name);
    assert.equal(await count(), '8');
    assert.match(await inside(name, 'curl -s http://127.0.0.1:6380/ask.py'), /^import socket, sys/);
    await fenced();
  });

  await t.test('a change of the Compose file offers a rebuild, which keeps their volumes', async () => {
    await inside(name, `cd /workspaces/project && sed -i 's/DB_NAME=team/DB_NAME=other/' .devcontainer/.env`);
    await eventually('a rebuild is offered', async () => (await view(name)).rebuild_offered);
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/rebuild`);
    await eventually('it is rebuilt', async () => !(await settled(name)).rebuild_offered && (await inside(name, 'echo $DB_NAME', { status: null })) === 'other', { seconds: 180 });
    assert.equal(await count(), '9');
  });

  await t.test('one that does not start opens a recovery container with its log', async () => {
    const made = await gateway.call(ada.token, 'POST', '/codespaces', { repository: `${git}/failing` });
    const codespace = await settled(made.name);
    assert.match(codespace.recovery ?? '', /the service db is waited for, and (it ended with status 3|something waits until it is healthy, and it has no healthcheck)\. It said last: the cause/, await log(made.name));
    await eventually('the log shows its own', async () => (await log(made.name)).includes('[db] the cause'));
    assert.equal(await inside(made.name, 'cat .devcontainer.json'), '{ "dockerComposeFile": "compose.yml", "service": "app" }');
  });

  await t.test('deleting leaves nothing behind', async () => {
    // Their logs go with the containers.
    engine.listen();
    for (const user of [ada, bob]) for (const codespace of await gateway.call(user.token, 'GET', '/codespaces')) await gateway.call(user.token, 'DELETE', `/codespaces/${codespace.name}?force=true`);
    assert.deepEqual(['container', 'network', 'volume'].flatMap((kind) => engine.names(kind)), []);
    assert.equal(engine.docker('ps', '-aq'), '');
    assert.equal(engine.docker('volume', 'ls', '-q'), '');
  });
});
