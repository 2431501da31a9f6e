// Ports that nobody declared: found by what programs print, in whatever way they say it, and by their sockets.
import assert from 'node:assert/strict';
import http from 'node:http';
import { test } from 'node:test';
import { eventually } from './harness/eventually.mjs';
import { Gateway, freePort } from './harness/gateway.mjs';
import { request } from './harness/http.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

/** Listens on an address, then prints the pieces of what it says one after the other. */
const SERVER = `import http from 'node:http';
const [address, port, ...pieces] = process.argv.slice(2);
const say = ([first, ...rest]) => first === undefined ? undefined : process.stdout.write(first, () => setImmediate(say, rest));
http.createServer((request, response) => response.end('at ' + address)).listen(Number(port), address, () => say(JSON.parse(pieces[0])));
`;

/** What is printed: the address that it listens on, and the path that its port's URL gets by it. */
const SPELLINGS = [
  ['a URL of the IPv6 loopback address', '::1', '/six', (port) => [`  ➜  Local: http://[::1]:${port}/six\n`]],
  ['a URL of every address', '0.0.0.0', '/all', (port) => [`Running on http://0.0.0.0:${port}/all (Press CTRL+C to quit)\n`]],
  ['a URL in colours and in pieces', '127.0.0.1', '/torn', (port) => ['\x1b[36mhttp://local', 'host:\x1b[1m', `${port}`.slice(0, 2), `${`${port}`.slice(2)}\x1b[22m/to`, 'rn\x1b[39m\r\n']],
  ['a port alone', '127.0.0.1', '/', (port) => [`Listening on :${port}\n`]],
  ['words', '127.0.0.1', '/', (port) => [`Serving HTTP on 127.0.0.1 port ${port} ...\n`]],
];

test('ports that nobody declared', async (t) => {
  const gateway = await Gateway.start(t, { editor: false });
  const [ada, bob] = [await gateway.user('ada', { admin: true }), await gateway.user('bob')];
  const git = await serveRepositories(t, { project: repository(t, { 'server.mjs': SERVER }) });
  const { name } = await gateway.codespace(ada.token, `${git}/project`, { editor: false });
  const ports = () => gateway.call(ada.token, 'GET', `/codespaces/${name}/ports`);
  const [own, others] = [await events(t, gateway, ada.token), await events(t, gateway, bob.token)];
  const found = [];

  for (const [what, address, path, pieces] of SPELLINGS) {
    await t.test(`${what} is a port with its process`, async () => {
      const port = await freePort();
      found.push(port);
      const command = [process.execPath, 'server.mjs', address, `${port}`, JSON.stringify(pieces(port))];
      await gateway.call(ada.token, 'POST', `/codespaces/${name}/terminals`, { cols: 80, rows: 24, command });
      const row = await eventually('it is listed with what was printed', async () => {
        const row = (await ports()).find((row) => row.port === port && row.listening);
        return row && new URL(row.url).pathname === path && row;
      });
      assert.equal(new URL(row.url).host, gateway.hostOf(name, port));
      assert.deepEqual([row.process, row.addresses, row.visibility], ['node', [address], 'private']);
      assert.match(row.command, new RegExp(`server\\.mjs ${address} ${port}`));
      assert.ok(row.pid > 1);
      const answer = await request(gateway.port, { host: gateway.hostOf(name, port), headers: { 'x-portico-token': ada.token } });
      assert.deepEqual([answer.status, answer.text], [200, `at ${address}`]);
    });
  }

  await t.test('each is told of once as it begins and once as it ends, to its owner alone', async () => {
    const told = (port, listening) => own.heard.filter(({ data }) => data.port.port === port && data.listening === listening);
    await eventually('all are told of', () => found.every((port) => told(port, true).length > 0));
    const [row] = (await ports()).filter((row) => row.port === found[0]);
    await gateway.exec(ada.token, name, ['kill', `${row.pid}`]);
    await eventually('its end is told of', () => told(found[0], false).length > 0);
    assert.deepEqual(found.map((port) => told(port, true).length), found.map(() => 1));
    assert.ok(own.heard.every(({ data }) => data.codespace === name));
    assert.deepEqual(others.heard, []);
  });

  await t.test('a share ends at the moment that its owner named', async () => {
    const port = found[1];
    const host = gateway.hostOf(name, port);
    const until = new Date(Date.now() + 3_600_000).toISOString();
    const shown = await gateway.command(['--json', 'ports', 'visibility', `${port}:public`, '--until', until, '-c', name], { token: ada.token });
    const [changed] = JSON.parse(shown.stdout);
    assert.deepEqual([changed.visibility, Date.parse(changed.expires_at)], ['public', Date.parse(until)]);
    assert.equal((await request(gateway.port, { host })).status, 200);
    // Made anew until it is taken before it is over.
    await eventually('it is set', async () => {
      const soon = new Date(Date.now() + 2_000).toISOString();
      return (await gateway.command(['ports', 'visibility', `${port}:public`, '--until', soon, '-c', name], { token: ada.token, status: null })).status === 0;
    });
    await eventually('it is private again', async () => (await request(gateway.port, { host })).status === 401);
    const wrong = await gateway.command(['ports', 'visibility', `${port}:public`, '--until', 'tomorrow', '-c', name], { token: ada.token, status: 2 });
    assert.match(wrong.stderr, /2026-12-24T18:00:00/);
  });
});

/** The `port` events that somebody's stream has brought so far. */
async function events(t, gateway, token) {
  const heard = [];
  const call = http.get({ host: '127.0.0.1', port: gateway.port, path: '/api/v1/events', headers: { host: gateway.host, authorization: `Bearer ${token}` } });
  t.after(() => call.destroy());
  const response = await new Promise((done, fail) => call.on('response', done).on('error', fail));
  assert.equal(response.statusCode, 200);
  let text = '';
  response.on('error', () => {}).on('data', (chunk) => {
    text += chunk;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const fields = Object.fromEntries(text.slice(0, end).split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]));
      if (fields.event === 'port') heard.push({ data: JSON.parse(fields.data) });
      text = text.slice(end + 2);
    }
  });
  return { heard };
}
