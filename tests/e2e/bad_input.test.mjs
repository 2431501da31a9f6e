// What goes wrong at the first try of most people: each says what is wrong and what to do, and leaves nothing behind.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { eventually } from './harness/eventually.mjs';
import { BINARY, Gateway, environment, freePort } from './harness/gateway.mjs';
import { raw, request } from './harness/http.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

test('bad input to a running gateway', async (t) => {
  const gateway = await Gateway.start(t, { editor: false });
  const { token } = await gateway.user('ada', { admin: true });
  const bob = await gateway.user('bob');
  const directory = repository(t);
  const git = await serveRepositories(t, { project: directory });

  for (const [what, body, words] of [
    ['a repository that does not exist', { repository: `${git}/nowhere` }, /not (be )?found|does not exist|no such/i],
    ['a host that does not answer', { repository: 'http://127.0.0.1:1/x' }, /connect|reach|refused/i],
    ['a ref that does not exist', { repository: `${git}/project`, ref: 'no-such-branch' }, /no-such-branch/],
  ]) {
    await t.test(`${what} is said on the API and on the command line`, async () => {
      const asked = await gateway.api(token, 'POST', '/codespaces', body);
      const problem = asked.status >= 400 ? asked.json : await failed(gateway, token, asked.json.name);
      assert.match(problem.detail ?? problem.reason, words);
      if (asked.status >= 400) assert.match(asked.headers['content-type'], /problem\+json/);
      const line = ['codespace', 'create', body.repository, ...(body.ref ? ['--ref', body.ref] : [])];
      const said = await gateway.command(line, { token, status: null });
      assert.notEqual(said.status, 0);
      assert.match(said.stderr, words);
      assert.equal(said.stdout, '', 'words go to standard error');
      await clear(gateway, token);
    });
  }

  for (const [what, body, as] of [
    ['no repository', {}, token],
    ['a transport that runs commands', { repository: 'ext::sh -c touch% /tmp/pwned' }, token],
    ['an option in place of a repository', { repository: '--upload-pack=touch /tmp/pwned' }, token],
    ['an option in place of a ref', { repository: `${git}/project`, ref: '--upload-pack=x' }, token],
    ['a local path of someone who is no admin', { repository: directory }, bob.token],
    ['a file URL of someone who is no admin', { repository: `file://${directory}` }, bob.token],
    ['an idle time out of range', { repository: `${git}/project`, idle_timeout_minutes: 1 }, token],
  ]) {
    await t.test(`${what} is refused before anything is made`, async () => {
      const answer = await gateway.api(as, 'POST', '/codespaces', body);
      assert.ok([400, 403, 422].includes(answer.status), `${answer.status} ${answer.text}`);
      assert.match(answer.headers['content-type'], /problem\+json/);
      assert.ok(answer.json.title && answer.json.detail, answer.text);
      assert.deepEqual(await gateway.call(as, 'GET', '/codespaces'), []);
    });
  }

  await t.test('a name that is taken', async () => {
    const again = await gateway.command(['user', 'create', 'bob', '--password-stdin', '--data', gateway.data], { input: 'another password 123\n', status: null });
    assert.notEqual(again.status, 0);
    
    assert.match(again.stderr, /taken|already|exists/);
  });

  await t.test('hosts that parse to nothing', async () => {
    const exotic = ['-3000', 'a--b', 'x-0', 'x-080', 'x-65536', 'x_y', 'xn--bcher-kva', '3000', 'UPPER_CASE', 'a.b'];
    for (const label of exotic) {
      const answer = await request(gateway.port, { host: `${label}.codespaces.localhost:${gateway.port}`, headers: { 'x-portico-token': token } });
      assert.equal(answer.status, 404, `${label}: ${answer.status}`);
    }
    const host = `x-080.codespaces.localhost:${gateway.port}`;
    const page = await request(gateway.port, { host, headers: { accept: 'text/html' } });
    const style = await request(gateway.port, { host, path: page.text.match(/href="([^"]+\.css[^"]*)"/)[1] });
    assert.equal(style.status, 200, 'the page finds its style');
    assert.match(style.headers['content-type'], /text\/css/);
    assert.equal((await request(gateway.port, { host: 'elsewhere.example' })).status, 421);
    assert.match(await raw(gateway.port, 'GET / HTTP/1.0\r\n\r\n'), /^HTTP\/1\.[01] 400 /);
  });

  await t.test('a port on which nothing listens says so', async () => {
    const { name } = await gateway.codespace(token, directory, { editor: false });
    const port = await freePort();
    const page = await request(gateway.port, { host: gateway.hostOf(name, port), headers: { 'x-portico-token': token, accept: 'text/html' } });
    assert.equal(page.status, 502);
    assert.match(page.headers['content-type'], /text\/html/);
    assert.match(page.text, new RegExp(`${port}`));
    const program = await request(gateway.port, { host: gateway.hostOf(name, port), headers: { 'x-portico-token': token } });
    assert.equal(program.status, 502);
    assert.match(program.headers['content-type'], /problem\+json/);
    const status = await gateway.exec(token, name, ['sh', '-c', 'exit 7'], { status: null });
    assert.equal(status.status, 7, "a command's exit status is ours");
    const missing = await gateway.exec(token, name, ['no-such-command'], { status: null });
    assert.match(missing.stderr, /no-such-command/);
  });
});

test('bad input to a start', async (t) => {
  const data = mkdtempSync('/tmp/pt-');
  t.after(() => rmSync(data, { recursive: true, force: true }));

  await t.test('a port in use', async () => {
    const gateway = await Gateway.start(t, { editor: false });
    const { status, stderr } = await start(['serve', '--data', data, '--listen', `127.0.0.1:${gateway.port}`]);
    assert.notEqual(status, 0);
    assert.match(stderr, new RegExp(`${gateway.port}`));
    assert.match(stderr, /in use/);
  });

  await t.test('a key that is not known names the nearest', async () => {
    const file = path.join(data, 'portico.toml');
    writeFileSync(file, 'lisen = "127.0.0.1:0"\n');
    for (const verb of ['serve', 'check']) {
      const { status, stderr, stdout } = await start([verb, '--config', file, '--data', data]);
      assert.notEqual(status, 0);
      assert.match(stderr + stdout, /lisen/);
      assert.match(stderr + stdout, /listen/);
    }
  });

  await t.test('a cause is told once, and what to do about it', async () => {
    const file = path.join(data, 'no-directory');
    writeFileSync(file, '');
    const { stderr } = await start(['serve', '--data', file, '--listen', '127.0.0.1:0']);
    assert.match(stderr, /no-directory cannot be used/);
    assert.match(stderr, /--data/);
    assert.equal(stderr.match(/os error/g).length, 1, stderr);
  });

  await t.test('a text without quotes', async () => {
    const file = path.join(data, 'unquoted.toml');
    writeFileSync(file, '# the second line\nlisten = 127.0.0.1:8080\n');
    const { status, stderr } = await start(['check', '--config', file, '--data', data]);
    assert.equal(status, 2);
    assert.match(stderr, /unquoted\.toml, line 2: .*quotes/);
  });

  await t.test('gateway and codespaces on one site', async () => {
    const { status, stderr } = await start(['serve', '--data', data, '--listen', '127.0.0.1:0', '--url', 'http://portico.example.org', '--domain', 'codespaces.example.org']);
    assert.notEqual(status, 0);
    assert.match(stderr, /same.site/i);
  });

  assert.deepEqual(readdirSync(data).filter((name) => name.endsWith('.sock')), [], 'no socket is left behind');
});

/** Runs a start that must fail. */
async function start(arguments_) {
  const child = spawn(BINARY, arguments_, { stdio: ['ignore', 'pipe', 'pipe'], env: environment() });
  const done = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => (done.stdout += chunk));
  child.stderr.on('data', (chunk) => (done.stderr += chunk));
  const timer = setTimeout(() => child.kill('SIGKILL'), 90_000);
  done.status = await new Promise((end) => child.on('close', (code, signal) => end(code ?? signal)));
  clearTimeout(timer);
  assert.notEqual(done.status, 'SIGKILL', `it started: ${done.stdout}${done.stderr}`);
  return done;
}

/** The codespace once it failed. */
function failed(gateway, token, name) {
  return eventually(`${name} fails`, async () => {
    const codespace = await gateway.call(token, 'GET', `/codespaces/${name}`);
    const step = codespace.steps.find((row) => row.state === 'failed');
    if (codespace.state === 'failed') return { detail: `${codespace.reason} ${step?.detail ?? ''}` };
    return step && { detail: step.detail };
  });
}

/** Deletes what a test made, and sees that it is gone. */
async function clear(gateway, token) {
  for (const { name } of await gateway.call(token, 'GET', '/codespaces')) {
    await gateway.call(token, 'DELETE', `/codespaces/${name}?force=true`);
  }
  await eventually('nothing is left', async () => (await gateway.call(token, 'GET', '/codespaces')).length === 0);
}
