// Alone, with a certificate of its own: the real binary speaks TLS and HTTP/2 with a real Chromium, sockets included.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { browser } from './harness/browser.mjs';
import { eventually } from './harness/eventually.mjs';
import { BINARY, attend, environment, freePort } from './harness/gateway.mjs';
import { repository } from './harness/repositories.mjs';
import * as vscode from './harness/vscode.mjs';

const MAKE_CA = path.resolve(import.meta.dirname, '../../certs/make-local-ca');

test('with a certificate the editor and the terminals work over HTTP/2', async (t) => {
  const directory = repository(t, { 'notes.txt': 'first\n' });
  const data = mkdtempSync('/tmp/pt-');
  symlinkSync(process.env.PORTICO_EDITORS, path.join(data, 'editors'));
  const ca = path.join(data, 'ca');
  execFileSync(MAKE_CA, [ca]);
  const port = await freePort();
  const origin = `https://portico.localhost:${port}`;
  const env = environment({
    PORTICO_DATA: data,
    PORTICO_LISTEN: `127.0.0.1:${port}`,
    PORTICO_URL: origin,
    PORTICO_TLS_CERTIFICATE: path.join(ca, 'portico.pem'),
    PORTICO_TLS_KEY: path.join(ca, 'portico.key'),
  });
  execFileSync(BINARY, ['check'], { env, stdio: 'ignore' });
  const up = spawn(BINARY, ['up', '--no-install'], { cwd: directory, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = attend(t, up, data);
  let said = '';
  up.stdout.on('data', (chunk) => (said += chunk));
  up.stderr.on('data', (chunk) => (said += chunk));
  const link = await eventually('the link is printed', () => {
    if (up.exitCode !== null) throw Object.assign(new Error(`it ended with ${up.exitCode}:\n${said}`), { fatal: true });
    return said.match(/https:\/\/portico\.localhost:\d+\/setup#[^\s\x1b]+/)?.[0];
  });
  await eventually('it is healthy', () => execFileSync(BINARY, ['healthcheck'], { env, stdio: ['ignore', 'pipe', 'ignore'] }) !== undefined);

  const { person, shot } = await browser(t);
  const ada = await person({ ignoreHTTPSErrors: true });
  const page = await ada.newPage();
  const devtools = await ada.newCDPSession(page);
  const [protocols, sockets, urls] = [new Set(), [], new Map()];
  devtools.on('Network.responseReceived', ({ response }) => response.url.startsWith('https:') && protocols.add(response.protocol));
  devtools.on('Network.webSocketCreated', ({ requestId, url }) => urls.set(requestId, new URL(url).pathname));
  devtools.on('Network.webSocketHandshakeResponseReceived', ({ requestId, response }) => sockets.push({ path: urls.get(requestId), status: response.status }));
  await devtools.send('Network.enable');

  await page.goto(link);
  await page.waitForURL((url) => url.host.endsWith(`.codespaces.localhost:${port}`));
  const name = new URL(page.url()).host.split('.')[0];
  await vscode.workbench(page);
  await vscode.open(page, 'notes.txt');
  await vscode.replace(page, 'edited over HTTP/2\n');
  const checkout = new URL(page.url()).searchParams.get('folder');
  await eventually('the file is saved', () => readFileSync(path.join(checkout, 'notes.txt'), 'utf8') === 'edited over HTTP/2\n');
  assert.deepEqual([...protocols], ['h2']);
  // Where the machine's interfaces change meanwhile, Chromium ends its connections, and opens the next socket over HTTP/1.1.
  const extended = () => sockets.filter(({ status }) => status === 200);
  await eventually('both sockets of the editor are told', () => extended().length >= 2);
  assert.ok(sockets.every(({ status }) => [200, 101].includes(status)), `extended CONNECT is answered 200: ${JSON.stringify(sockets)}`);
  await shot(page, '40-tls');

  await page.goto(origin);
  const terminal = await page.evaluate(async (codespace) => {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(`/api/v1/codespaces/${codespace}/terminals`, { method: 'POST', headers, body: '{"cols":80,"rows":24}' });
    return (await answer.json()).id;
  }, name);
  await page.goto(`${origin}/codespaces/${name}/terminals/${terminal}`);
  await eventually('the terminal is attached', () => sockets.some(({ path, status }) => path?.endsWith('/attach') && status === 200));
  const typed = path.join(checkout, 'typed.txt');
  const did = () => existsSync(typed) && readFileSync(typed, 'utf8') === 'over-42\n';
  // What is typed before the shell is there may be lost.
  await eventually('the terminal obeys', async () => {
    await page.locator('.xterm-helper-textarea').first().focus();
    await page.keyboard.type('echo over-$((6*7)) > typed.txt');
    await page.keyboard.press('Enter');
    return eventually('it did', did, { seconds: 10 });
  });

  up.kill('SIGTERM');
  assert.equal(await exited, 0, said);
});
