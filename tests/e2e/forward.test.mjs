// A real PostgreSQL inside a codespace, reached with psql from outside through `portico ports forward`.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { eventually } from './harness/eventually.mjs';
import { BINARY, Gateway, environment, freePort } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

const POSTGRES = '/usr/lib/postgresql';

/** Answers each connection with the number of bytes that came before its end, which is only there with half-close. */
const COUNTER = `import net from 'node:net';
net.createServer({ allowHalfOpen: true }, (socket) => {
  let count = 0;
  socket.on('data', (bytes) => (count += bytes.length));
  socket.on('end', () => socket.end('got ' + count));
}).listen(Number(process.argv[2]), '127.0.0.1');
`;

/** The directory of the newest PostgreSQL's programs. */
function postgres() {
  const versions = readdirSync(POSTGRES).sort((a, b) => b - a);
  if (!versions.length) throw new Error('PostgreSQL is not here: apt-get install postgresql');
  return path.join(POSTGRES, versions[0], 'bin');
}

/** How to run a program of PostgreSQL's server, which refuses root, with the environment as it is. */
const asPostgres = (command) => (process.getuid() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups', ...command] : command);

/** A cluster's directory, ready to be started. */
function cluster(t) {
  const data = mkdtempSync('/tmp/pg-');
  t.after(() => rmSync(data, { recursive: true, force: true }));
  if (process.getuid() === 0) execFileSync('chown', ['postgres', data]);
  else chmodSync(data, 0o700);
  const [program, ...rest] = asPostgres([path.join(postgres(), 'initdb'), '-D', data, '-U', 'ada', '-A', 'trust', '--no-sync', '-E', 'UTF8']);
  execFileSync(program, rest, { stdio: 'ignore', cwd: '/tmp' });
  return data;
}

/** Starts `portico ports forward … --json`; resolves to the ports on this machine. */
async function forward(t, gateway, token, mappings, codespace) {
  const child = spawn(BINARY, ['ports', 'forward', ...mappings, '-c', codespace, '--json'], { stdio: ['ignore', 'pipe', 'pipe'], env: environment({ PORTICO_URL: gateway.origin, PORTICO_TOKEN: token }) });
  const forwarding = { child, stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => (forwarding.stdout += chunk));
  child.stderr.on('data', (chunk) => (forwarding.stderr += chunk));
  forwarding.exited = new Promise((done) => child.on('exit', (code, signal) => done(code ?? signal)));
  t.after(() => child.kill('SIGKILL'));
  await eventually('it forwards', () => {
    if (child.exitCode !== null) throw Object.assign(new Error(`it ended with ${child.exitCode}: ${forwarding.stderr}`), { fatal: true });
    return /Forwarding/.test(forwarding.stderr) && JSON.parse(forwarding.stdout);
  });
  forwarding.ports = JSON.parse(forwarding.stdout).map((row) => Number(row.local.split(':').at(-1)));
  return forwarding;
}

function psql(port, sql, { status = 0, input } = {}) {
  const child = spawn('psql', ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', '127.0.0.1', '-p', `${port}`, '-U', 'ada', 'postgres', '-c', sql], { stdio: ['pipe', 'pipe', 'pipe'] });
  const done = { stdout: '', stderr: '', child };
  child.stdout.on('data', (chunk) => (done.stdout += chunk));
  child.stderr.on('data', (chunk) => (done.stderr += chunk));
  child.stdin.on('error', () => {});
  child.stdin.end(input ?? '');
  done.ended = new Promise((end, fail) =>
    child.on('close', (code) => (status === null || code === status ? end(done.stdout.trim()) : fail(new Error(`psql ended with ${code}: ${done.stderr}`)))),
  );
  return done;
}

const query = (port, sql, options) => psql(port, sql, options).ended;

test('a database in a codespace, from outside', async (t) => {
  const gateway = await Gateway.start(t, { editor: false });
  const ada = await gateway.user('ada', { admin: true });
  const eve = await gateway.user('eve');
  const git = await serveRepositories(t, { project: repository(t, { 'counter.mjs': COUNTER }) });
  const { name } = await gateway.codespace(ada.token, `${git}/project`, { editor: false });
  const [port, counter] = [await freePort(), await freePort()];
  const sockets = mkdtempSync('/tmp/pgs-');
  t.after(() => rmSync(sockets, { recursive: true, force: true }));
  chmodSync(sockets, 0o777);
  const server = asPostgres([path.join(postgres(), 'postgres'), '-D', cluster(t), '-p', `${port}`, '-h', '127.0.0.1', '-k', sockets]);
  await gateway.serveInside(ada.token, name, server, port);
  await gateway.serveInside(ada.token, name, [process.execPath, 'counter.mjs', `${counter}`], counter);
  const own = await forward(t, gateway, ada.token, [`${port}:0`, `${counter}:0`], name);

  await t.test('queries, a large answer and a large upload pass whole', async () => {
    // It listens before it answers.
    await eventually('the database is up', async () => (await query(own.ports[0], 'select 6 * 7')) === '42');
    const rows = await query(own.ports[0], "select md5(n::text) from generate_series(1, 300000) as n");
    assert.equal(rows.split('\n').length, 300_000);
    const input = Array.from({ length: 200_000 }, (_, n) => `${n}\t${'x'.repeat(50)}`).join('\n');
    await query(own.ports[0], 'create table uploaded (n int, text text)');
    await query(own.ports[0], 'copy uploaded from stdin', { input });
    assert.equal(await query(own.ports[0], 'select count(*), sum(n) from uploaded'), '200000|19999900000');
  });

  await t.test('twenty at once', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => query(own.ports[0], `select ${n}, count(*) from uploaded`)));
    assert.deepEqual(answers, answers.map((_, n) => `${n}|200000`));
  });

  await t.test('the end of one direction leaves the other open', async () => {
    const answer = await new Promise((done, fail) => {
      const socket = net.connect({ port: own.ports[1], host: '127.0.0.1', allowHalfOpen: true }, () => socket.end(Buffer.alloc(3_000_000)));
      let text = '';
      socket.on('data', (bytes) => (text += bytes));
      socket.on('end', () => done(text));
      socket.on('error', fail);
    });
    assert.equal(answer, 'got 3000000');
  });

  await t.test('a stranger is told as much as of a codespace that is not there', async () => {
    const refused = await gateway.command(['ports', 'forward', `${port}:0`, '-c', name], { token: eve.token, status: 4 });
    const missing = await gateway.command(['ports', 'forward', `${port}:0`, '-c', 'quiet-amber-otter-zz9z'], { token: eve.token, status: 4 });
    assert.equal(refused.stderr, missing.stderr);
  });

  await t.test('someone it is shared with works, until it is not', async () => {
    await gateway.call(ada.token, 'PATCH', `/codespaces/${name}/ports/${port}`, { users: ['eve'] });
    const theirs = await forward(t, gateway, eve.token, [`${port}:0`], name);
    assert.equal(await query(theirs.ports[0], 'select 1'), '1');
    const sleeping = psql(theirs.ports[0], 'select pg_sleep(900)', { status: null });
    await eventually('it sleeps', async () => (await query(own.ports[0], "select count(*) from pg_stat_activity where query like 'select pg_sleep%'")) === '1');
    const revoked = Date.now();
    await gateway.call(ada.token, 'PATCH', `/codespaces/${name}/ports/${port}`, { users: [] });
    await sleeping.ended;
    t.diagnostic(`its connection was cut after ${Date.now() - revoked} ms`);
    assert.ok(Date.now() - revoked < 600_000, 'it was cut, and not at the end of its query');
    await eventually('its client says so', () => /server closed the connection/.test(sleeping.stderr));
    await eventually('so does the program', () => /a connection was cut/.test(theirs.stderr));
    await query(theirs.ports[0], 'select 1', { status: null });
    await eventually('it says why', () => /connection was refused\./.test(theirs.stderr));
  });

  await t.test('a token for this port alone is enough, and one for another is not', async () => {
    const scoped = async (number) => (await gateway.command(['token', 'create', '--user', 'ada', '--scope', `port:${name}:${number}`, '--data', gateway.data])).stdout.trim();
    const narrow = await forward(t, gateway, await scoped(port), [`${port}:0`], name);
    assert.equal(await query(narrow.ports[0], 'select 2'), '2');
    await gateway.command(['ports', 'forward', `${port}:0`, '-c', name], { token: await scoped(port + 1), status: 4 });
  });

  await t.test('a port where nothing listens says so, and works once something does', async () => {
    const late = await freePort();
    const early = await forward(t, gateway, ada.token, [`${late}:0`], name);
    const refused = net.connect(early.ports[0], '127.0.0.1');
    refused.on('error', () => {});
    await new Promise((done) => refused.on('close', done));
    await eventually('it says so', () => early.stderr.includes(`Nothing listens on port ${late}`));
    await gateway.serveInside(ada.token, name, [process.execPath, 'counter.mjs', `${late}`], late);
    const socket = net.connect(early.ports[0], '127.0.0.1', () => socket.end('four'));
    let text = '';
    socket.on('data', (bytes) => (text += bytes));
    await new Promise((done) => socket.on('close', done));
    assert.equal(text, 'got 4');
  });

  await t.test('it forwards on when the gateway comes back', async () => {
    await gateway.kill9();
    await query(own.ports[0], 'select 1', { status: null });
    await gateway.serve();
    await gateway.ready(ada.token, name, { editor: false });
    await eventually('queries work again', async () => (await query(own.ports[0], 'select 3', { status: null })) === '3');
  });

  await t.test('the audit log names who connected, once for many connections', async () => {
    const told = await eventually('both are named', async () => {
      const told = (await gateway.call(ada.token, 'GET', '/audit?event=port.connected')).map((event) => `${event.actor} ${event.target}`);
      return told.includes(`eve ${name}:${port}`) && told.includes(`ada ${name}:${port}`) && told;
    });
    assert.ok(told.length < 12, told.join(', '));
  });

  await t.test('it ends when it is told to', async () => {
    own.child.kill('SIGINT');
    assert.equal(await own.exited, 0);
  });
});
