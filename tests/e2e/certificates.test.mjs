// What an administrator sees of the gateway's certificates: good ones, one that ends soon, one that nobody gives, and a
// gateway that speaks plain HTTP. The phone's width, dark colours and the keyboard included.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { eventually } from './harness/eventually.mjs';
import { BINARY, Gateway, attend, environment, freePort } from './harness/gateway.mjs';
import { keep } from './harness/hygiene.mjs';

const PHONE = { width: 360, height: 740 };
const ADA = { name: 'ada', password: keep('password', 'correct horse battery') };

/** Starts a gateway that speaks TLS, with what its files hold and an authority that is away. */
async function gatewayWithTls(t) {
  const data = mkdtempSync('/tmp/pt-');
  const [certificate, key] = ['wild.pem', 'wild.key'].map((name) => path.join(data, name));
  const openssl = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '10', '-subj', '/CN=test'];
  execFileSync('openssl', [...openssl, '-addext', 'subjectAltName=DNS:*.codespaces.localhost', '-keyout', key, '-out', certificate], { stdio: 'ignore' });
  const port = await freePort();
  const origin = `https://portico.localhost:${port}`;
  const env = environment({
    PORTICO_DATA: data,
    PORTICO_LISTEN: `127.0.0.1:${port}`,
    PORTICO_URL: origin,
    PORTICO_TLS_CERTIFICATE: certificate,
    PORTICO_TLS_KEY: key,
    PORTICO_ACME_ACCEPT_TERMS: 'true',
    PORTICO_ACME_DIRECTORY: `https://127.0.0.1:${await freePort()}/directory`,
  });
  execFileSync(BINARY, ['user', 'create', ADA.name, '--admin', '--password-stdin'], { env, input: ADA.password });
  attend(t, spawn(BINARY, ['serve'], { env, stdio: ['ignore', 'pipe', 'pipe'] }), data);
  await eventually('the gateway is ready', () => {
    execFileSync(BINARY, ['healthcheck'], { env, stdio: 'ignore' });
    return true;
  });
  return { origin };
}

async function fits(page, what) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, `${what} is ${wide} px too wide`);
}

test('an administrator sees the certificates', async (t) => {
  const gateway = await gatewayWithTls(t);
  const { person, shot } = await browser(t);
  const page = await (await person({ ignoreHTTPSErrors: true })).newPage();
  await signIn(page, gateway, ADA);
  await page.goto(`${gateway.origin}/admin`);
  await page.getByRole('link', { name: 'Certificates' }).press('Enter');
  await page.waitForURL((url) => url.pathname === '/admin/certificates');
  const of = (hosts) => page.locator(`[data-testid=certificate][data-hosts=${hosts}]`);
  await of('gateway').waitFor();
  assert.equal(await of('gateway').getAttribute('data-state'), 'missing');
  await page.getByTestId('certificate-error').waitFor();
  assert.match(await of('gateway').innerText(), /By ACME[\s\S]*Next try[\s\S]*in \d+ minutes?[\s\S]*the authority at https:\/\/127\.0\.0\.1/);
  assert.equal(await of('codespaces').getAttribute('data-state'), 'good', 'two weeks would be much of ten days');
  assert.match(await of('codespaces').innerText(), /\*\.codespaces\.localhost[\s\S]*From files[\s\S]*in (9|10) days/);
  // Somebody who mended something need not wait.
  const since = await page.getByTestId('certificate-error').locator('time').getAttribute('datetime');
  await page.getByTestId('try-now').click();
  await page.waitForFunction((before) => document.querySelector('[data-testid=certificate-error] time').dateTime !== before, since);
  assert.equal(await page.title(), 'Certificates · Portico');
  await shot(page, 'certificates-01');
  await page.setViewportSize(PHONE);
  await page.emulateMedia({ colorScheme: 'dark' });
  await fits(page, 'the page of certificates');
  await page.mouse.move(0, 0);
  await page.evaluate(() => Promise.all(document.getAnimations().map(({ finished }) => finished)));
  await shot(page, 'certificates-02-phone-dark');
});

test('a gateway that speaks plain HTTP says so', async (t) => {
  const gateway = await Gateway.start(t, { editor: false });
  const ada = await gateway.user('ada', { admin: true });
  const { person, shot } = await browser(t);
  const page = await (await person()).newPage();
  await signIn(page, gateway, ada);
  await page.goto(`${gateway.origin}/admin/certificates`);
  await page.getByText('speaks plain HTTP').waitFor();
  await shot(page, 'certificates-03-plain');
});
