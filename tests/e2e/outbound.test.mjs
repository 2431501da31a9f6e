// The gateway's own ways out through an HTTP proxy: a whole sign-in with a provider that nothing else leads to.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { browser } from './harness/browser.mjs';
import { eventually } from './harness/eventually.mjs';
import { Gateway } from './harness/gateway.mjs';
import { Identities, SECRET, logIn } from './harness/provider.mjs';

const MAKE_CA = path.resolve(import.meta.dirname, '../../certs/make-local-ca');
const AUTHORIZATION = `Basic ${Buffer.from('gateway:p@ss-of-the-way-out').toString('base64')}`;

/** A proxy that knows one host, and writes down who asked it for what. */
async function proxy(t, host, port) {
  const asked = [];
  const server = http.createServer((_, response) => response.writeHead(405).end());
  server.on('connect', (request, client, head) => {
    asked.push([request.url, request.headers['proxy-authorization']]);
    client.on('error', () => {});
    if (request.url !== `${host}:443`) return client.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    if (!request.headers['proxy-authorization']) return client.end('HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm="proxy"\r\nContent-Length: 0\r\n\r\n');
    const upstream = net.connect(port, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connected\r\n\r\n');
      upstream.write(head);
      client.pipe(upstream).pipe(client);
    });
    upstream.on('error', () => client.destroy());
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const end = () => new Promise((done) => (server.close(done), server.closeAllConnections()));
  t.after(end);
  return { asked, end, url: `127.0.0.1:${server.address().port}` };
}

test('a sign-in through the HTTP proxy that the operator named', async (t) => {
  const directory = mkdtempSync('/tmp/pt-');
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  execFileSync(MAKE_CA, [directory, 'id.example', 'id.example'], { stdio: 'ignore' });
  // As an operator has a gateway trust an authority of its own.
  process.env.SSL_CERT_FILE = path.join(directory, 'ca.pem');
  t.after(() => delete process.env.SSL_CERT_FILE);
  const provider = await Identities.start(t, { ada: { password: 'pw-ada' } });
  provider.issuer = 'https://id.example';
  provider.certificate = { cert: readFileSync(path.join(directory, 'portico.pem')), key: readFileSync(path.join(directory, 'portico.key')) };
  const way = await proxy(t, 'id.example', provider.port);
  const config = `
proxy = "http://gateway:p%40ss-of-the-way-out@${way.url}"

[provider.example]
label = "Example"
issuer = "${provider.issuer}"
client_id = "portico"
client_secret = "${SECRET}"
scopes = ["profile", "email"]
sign_up = ["ada@example.com"]
`;
  const gateway = await Gateway.start(t, { editor: false, config });
  gateway.keepSecret('proxy password', 'p@ss-of-the-way-out');
  gateway.keepSecret('proxy password', AUTHORIZATION.slice('Basic '.length));
  gateway.keepSecret('client secret', SECRET);
  await provider.serve(`${gateway.origin}/sign-in/callback/example`);
  await gateway.user('root', { admin: true });
  const { person } = await browser(t);
  const theirs = { server: `http://${way.url}`, bypass: '.localhost', username: 'browser', password: 'theirs' };
  const context = await person({ proxy: theirs, ignoreHTTPSErrors: true });
  const page = await context.newPage();
  await page.goto(`${gateway.origin}/sign-in?next=%2Fsettings`);
  await page.getByTestId('sign-in-with').click();
  await logIn(page, 'ada', 'pw-ada');
  await page.waitForURL(`${gateway.origin}/settings`);
  assert.equal(await page.evaluate(async () => (await (await fetch('/api/v1/user')).json()).name), 'ada');
  const own = way.asked.filter(([, who]) => who === AUTHORIZATION);
  assert.ok(own.length >= 3, `its document, its keys and the code: ${JSON.stringify(way.asked)}`);
  assert.deepEqual([...new Set(own.map(([where]) => where))], ['id.example:443'], 'by its name, and nothing else');

  await t.test('a proxy that is gone is told of to the operator, and a page tells the person', async () => {
    await context.close();
    await way.end();
    await gateway.end();
    const again = await Gateway.start(t, { editor: false, config });
    await again.user('root', { admin: true });
    const other = await (await person()).newPage();
    await other.goto(`${again.origin}/sign-in/with/example?next=%2F`);
    assert.match(await other.locator('main').textContent(), /Example/);
    await eventually('the log tells it', () => again.output.includes(`the proxy ${way.url} cannot be reached`));
    assert.doesNotMatch(again.output, /p@ss|p%40ss/);
  });
});
