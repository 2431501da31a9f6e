// Two codespaces of two people: nothing of one is reachable by the other, and no answer tells whether it exists.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { Gateway, freePort } from './harness/gateway.mjs';
import { request, websocket } from './harness/http.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

const APP = path.resolve(import.meta.dirname, 'fixtures/app.mjs');
const MISSING = 'quiet-amber-otter-zz9z';

test('two people', async (t) => {
  const gateway = await Gateway.start(t);
  const ada = await gateway.user('ada', { admin: true });
  const bob = await gateway.user('bob');
  const eve = await gateway.user('eve');
  const git = await serveRepositories(t, { project: repository(t) });
  const mine = await gateway.codespace(bob.token, `${git}/project`);
  const theirs = await gateway.codespace(eve.token, `${git}/project`);
  const port = await freePort();
  const terminal = await gateway.serveInside(bob.token, mine.name, [process.execPath, APP, `${port}`], port);

  await t.test('the owner reaches the port', async () => {
    const answer = await request(gateway.port, { host: gateway.hostOf(mine.name, port), headers: { 'x-portico-token': bob.token } });
    assert.equal(answer.status, 200);
    assert.match(answer.text, /Hello from the codespace/);
  });

  await t.test("a server of one answers on no port host of the other", async () => {
    const answer = await request(gateway.port, { host: gateway.hostOf(theirs.name, port), headers: { 'x-portico-token': eve.token } });
    assert.equal(answer.status, 502);
    assert.doesNotMatch(answer.text, /Hello from the codespace/);
    const listed = await gateway.call(eve.token, 'GET', `/codespaces/${theirs.name}/ports`);
    assert.ok(!listed.some((row) => row.port === port && row.listening), "it is not listed as the other's");
  });

  // Each pair of calls differs in the name alone, so the answers may differ in nothing but that name.
  for (const [what, ask] of [
    ['the port', (name) => request(gateway.port, { host: gateway.hostOf(name, port), headers: { 'x-portico-token': eve.token } })],
    ['the editor', (name) => request(gateway.port, { host: gateway.hostOf(name), headers: { 'x-portico-token': eve.token } })],
    ['a socket of the port', (name) => websocket(gateway.port, { host: gateway.hostOf(name, port), path: '/socket', headers: { 'x-portico-token': eve.token } })],
    ['the codespace', (name) => gateway.api(eve.token, 'GET', `/codespaces/${name}`)],
    ['its ports', (name) => gateway.api(eve.token, 'GET', `/codespaces/${name}/ports`)],
    ['its terminals', (name) => gateway.api(eve.token, 'GET', `/codespaces/${name}/terminals`)],
    ['a new terminal', (name) => gateway.api(eve.token, 'POST', `/codespaces/${name}/terminals`, { cols: 80, rows: 24 })],
    ['its work', (name) => gateway.api(eve.token, 'GET', `/codespaces/${name}/work`)],
    ['its logs', (name) => gateway.api(eve.token, 'GET', `/codespaces/${name}/logs`)],
    ['stopping it', (name) => gateway.api(eve.token, 'POST', `/codespaces/${name}/stop`, {})],
    ['sharing it', (name) => gateway.api(eve.token, 'PATCH', `/codespaces/${name}/ports/${port}`, { visibility: 'public' })],
    ['deleting it', (name) => gateway.api(eve.token, 'DELETE', `/codespaces/${name}?force=true`)],
    ['a terminal', (name) => attach(gateway, eve.token, name, terminal.id)],
    ['a command', (name) => exec(gateway, eve.token, name)],
    ['the port without an account', (name) => request(gateway.port, { host: gateway.hostOf(name, port) })],
    ['the port by an anonymous browser', (name) => request(gateway.port, { host: gateway.hostOf(name, port), headers: navigation() })],
    ['the editor by an anonymous browser', (name) => request(gateway.port, { host: gateway.hostOf(name), headers: navigation() })],
  ]) {
    await t.test(`${what}: not yours and not there look the same`, async () => {
      const existing = await ask(mine.name);
      const missing = await ask(MISSING);
      assert.ok([303, 401, 404].includes(existing.status), `${existing.status}: ${existing.text}`);
      assert.deepEqual(comparable(existing, mine.name), comparable(missing, MISSING));
    });
  }

  await t.test('nothing was changed by trying', async () => {
    const codespace = await gateway.call(bob.token, 'GET', `/codespaces/${mine.name}`);
    assert.equal(codespace.state, 'running');
    assert.equal(codespace.ports.find((row) => row.port === port).visibility, 'private');
    assert.deepEqual((await gateway.call(eve.token, 'GET', '/codespaces')).map((row) => row.name), [theirs.name]);
  });

  await t.test('the token of one opens nothing as a cookie, nor in the address', async () => {
    const host = gateway.hostOf(mine.name, port);
    for (const headers of [{ cookie: `__Host-portico_session=${bob.token}` }, { cookie: `__Host-portico_access=${bob.token}` }]) {
      assert.equal((await request(gateway.port, { host, headers })).status, 401);
    }
    assert.equal((await request(gateway.port, { host, path: `/?token=${bob.token}` })).status, 401);
  });

  await t.test('an admin is no owner', async () => {
    assert.equal((await request(gateway.port, { host: gateway.hostOf(mine.name, port), headers: { 'x-portico-token': ada.token } })).status, 404);
  });
});

function navigation() {
  return { accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-site': 'none' };
}

function attach(gateway, token, name, id) {
  return websocket(gateway.port, { host: gateway.host, path: `/api/v1/codespaces/${name}/terminals/${id}/attach?client=x`, headers: { authorization: `Bearer ${token}` } });
}

function exec(gateway, token, name) {
  return websocket(gateway.port, { host: gateway.host, path: `/api/v1/codespaces/${name}/exec`, headers: { authorization: `Bearer ${token}` } });
}

/** An answer without what is random in each: times, request ids, nonces, states. */
function comparable({ status, headers, text = '' }, name) {
  const cleaned = (value) =>
    `${value}`
      .replaceAll(name, 'NAME')
      .replaceAll(/portico_nonce_\w+=[^;]+/g, 'NONCE')
      .replaceAll(/([?&;]|&amp;)(state|nonce)=[^&"'\s]+/g, '$1$2=RANDOM')
      .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'UUID')
      .replaceAll(/nonce-[\w+/=-]+/g, 'nonce-RANDOM');
  const varying = ['date', 'x-request-id', 'content-length'];
  const kept = Object.entries(headers ?? {}).filter(([field]) => !varying.includes(field));
  const body = cleaned(text).replaceAll(/request <code>[^<]*<\/code>/g, '').replaceAll(/"request_id":"[^"]*"/g, '');
  return { status, headers: Object.fromEntries(kept.map(([field, value]) => [field, cleaned(value)])), body };
}
