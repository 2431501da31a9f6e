// Accounts as people meet them: a command line signed in through a browser, tokens and sessions ended one by one with
// what they hold open, administration, and who may open a port.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { atSignIn, browser, signIn } from './harness/browser.mjs';
import { becomes, eventually } from './harness/eventually.mjs';
import { BINARY, Gateway, environment, freePort } from './harness/gateway.mjs';
import { websocket } from './harness/http.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

const PHONE = { width: 360, height: 740 };

/** A command line with a home of its own, as a person's on another machine. */
function commandLine(t, gateway) {
  const home = mkdtempSync('/tmp/pt-home-');
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const env = { XDG_CONFIG_HOME: home };
  const run = (arguments_, options) => gateway.command(arguments_, { env, ...options });
  /** `portico login`; resolves once it shows its code. */
  async function login(...more) {
    const child = spawn(BINARY, ['login', gateway.origin, '--no-browser', '--json', ...more], { env: environment(env), stdio: ['ignore', 'pipe', 'pipe'] });
    t.after(() => child.kill());
    const said = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr']) child[stream].on('data', (chunk) => (said[stream] += chunk));
    const ended = new Promise((done) => child.on('close', (status) => done({ status, ...said })));
    const code = await eventually('the code is shown', () => said.stderr.match(/type {2}([A-Z]{4}-[A-Z]{4})/)?.[1]);
    assert.ok(said.stderr.includes(`${gateway.origin}/device\n`), said.stderr);
    return { code, ended };
  }
  return { run, login, file: path.join(home, 'portico', 'credentials.json') };
}

async function fits(page, what) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, `${what} is ${wide} px too wide`);
}

test('accounts, tokens and sessions', async (t) => {
  const gateway = await Gateway.start(t, { editor: false });
  const ada = await gateway.user('ada', { admin: true });
  const bob = await gateway.user('bob');
  const git = await serveRepositories(t, { project: repository(t, { 'notes.txt': 'first\n' }) });
  const codespace = await gateway.codespace(bob.token, `${git}/project`, { editor: false });
  const { person, shot } = await browser(t);
  const bobs = await person();
  const page = await bobs.newPage();
  const cli = commandLine(t, gateway);

  await t.test('a command line signs in by a code that a person types', async () => {
    const { code, ended } = await cli.login('--scope', 'all', '--expires', '8h');
    await page.goto(`${gateway.origin}/device?user_code=${code}&code=${code}`);
    await atSignIn(page, bob);
    const input = page.getByTestId('device-code');
    await input.waitFor();
    assert.equal(await input.inputValue(), '', 'no link fills the code in');
    await shot(page, 'accounts-01-device');
    await input.fill('bcdfbcdf');
    await becomes(() => input.inputValue(), 'BCDF-BCDF');
    await input.press('Enter');
    await page.getByRole('alert').waitFor();
    await shot(page, 'accounts-02-device-wrong');
    await input.fill(code.toLowerCase());
    await input.press('Enter');
    await page.getByTestId('device-request').waitFor();
    assert.match(await page.getByTestId('device-scope').innerText(), /everything/);
    await shot(page, 'accounts-03-device-request');
    await page.setViewportSize(PHONE);
    await page.emulateMedia({ colorScheme: 'dark' });
    await fits(page, 'the request');
    await shot(page, 'accounts-04-device-request-phone');
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.emulateMedia({ colorScheme: 'light' });
    // By keyboard alone: the heading has the focus, then come the buttons.
    await becomes(() => page.evaluate(() => document.activeElement.id), 'device-title', 'the heading has the focus');
    await page.keyboard.press('Tab');
    await becomes(() => page.evaluate(() => document.activeElement.dataset.testid), 'device-grant');
    await page.keyboard.press('Enter');
    await page.getByTestId('device-done').waitFor();
    await shot(page, 'accounts-05-device-done');
    const { status, stdout, stderr } = await ended;
    assert.equal(status, 0, stderr);
    const shown = JSON.parse(stdout);
    assert.deepEqual([shown.user, shown.scope, shown.url], ['bob', 'all', gateway.origin]);
    const { token } = JSON.parse(readFileSync(cli.file)).gateways[gateway.origin];
    gateway.keepSecret('access token', token);
    assert.ok(!`${stdout}${stderr}`.includes(token), 'the token is not printed');
    assert.equal(statSync(cli.file).mode & 0o777, 0o600);
    assert.equal(statSync(path.dirname(cli.file)).mode & 0o777, 0o700);
  });

  await t.test('its commands use what it got, and environment variables go before it', async () => {
    const who = JSON.parse((await cli.run(['whoami', '--json'])).stdout);
    assert.deepEqual([who.user, who.role, who.url, who.token.scope], ['bob', 'member', gateway.origin, 'all']);
    assert.deepEqual(JSON.parse((await cli.run(['codespace', 'list', '--json'])).stdout).map(({ name }) => name), [codespace.name]);
    const other = JSON.parse((await cli.run(['whoami', '--json'], { token: ada.token })).stdout);
    assert.equal(other.user, 'ada');
    const operator = JSON.parse((await cli.run(['whoami', '--json', '--data', gateway.data])).stdout);
    assert.equal(operator.token, null);
  });

  await t.test('a request that is declined ends the command', async () => {
    const { code, ended } = await cli.login('--scope', `codespace:${codespace.name}`);
    await page.goto(`${gateway.origin}/device`);
    await page.getByTestId('device-code').fill(code);
    await page.getByTestId('device-look').click();
    await page.getByTestId('device-decline').click();
    await page.getByTestId('device-done').waitFor();
    const { status, stderr } = await ended;
    assert.equal(status, 1);
    assert.match(stderr, /declined/);
    assert.equal(JSON.parse((await cli.run(['whoami', '--json'])).stdout).user, 'bob', 'the sign-in before stays');
  });

  await t.test('sess_3: a token that is revoked in the settings closes what it holds open', async () => {
    const terminal = await gateway.call(bob.token, 'POST', `/codespaces/${codespace.name}/terminals`, { cols: 80, rows: 24 });
    const attach = `/api/v1/codespaces/${codespace.name}/terminals/${terminal.id}/attach`;
    await page.goto(`${gateway.origin}/settings`);
    await page.getByLabel('Name', { exact: true }).fill('for one codespace');
    await page.getByTestId('token-scope').selectOption('codespace');
    await page.getByTestId('token-codespace').selectOption(codespace.name);
    await page.getByTestId('create-token').click();
    const secret = await page.getByTestId('token-secret').innerText();
    gateway.keepSecret('access token', secret);
    await shot(page, 'accounts-06-token');
    const { socket } = await websocket(gateway.port, { host: gateway.host, path: attach, headers: { authorization: `Bearer ${secret}` } });
    const closed = new Promise((done) => socket.on('close', () => done(Date.now())));
    const before = Date.now();
    await page.getByRole('button', { name: 'Revoke for one codespace' }).click();
    t.diagnostic(`closed ${(await closed) - before} ms after the click`);
    assert.equal((await gateway.api(secret, 'GET', '/codespaces')).status, 401);
    await page.reload();
    await page.getByText('portico login on').first().waitFor();
    await shot(page, 'accounts-07-settings');
    await page.setViewportSize(PHONE);
    await page.emulateMedia({ colorScheme: 'dark' });
    await fits(page, 'the settings');
    await shot(page, 'accounts-08-settings-phone');
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.emulateMedia({ colorScheme: 'light' });
  });

  await t.test('sess_3: a session that is ended elsewhere closes what it holds open', async () => {
    const second = await person({ userAgent: 'Mozilla/5.0 (Windows NT 10.0) Firefox/140.0' });
    const elsewhere = await second.newPage();
    await signIn(elsewhere, gateway, bob, '/settings');
    const cookies = await second.cookies(gateway.origin);
    for (const cookie of cookies) gateway.keepSecret('session cookie', cookie.value);
    const terminals = await gateway.call(bob.token, 'GET', `/codespaces/${codespace.name}/terminals`);
    const { socket } = await websocket(gateway.port, {
      host: gateway.host,
      path: `/api/v1/codespaces/${codespace.name}/terminals/${terminals[0].id}/attach`,
      headers: { origin: gateway.origin, cookie: cookies.map(({ name, value }) => `${name}=${value}`).join('; ') },
    });
    const closed = new Promise((done) => socket.on('close', () => done(Date.now())));
    await page.goto(`${gateway.origin}/settings`);
    const before = Date.now();
    await page.getByRole('button', { name: 'Sign out Firefox on Windows' }).click();
    t.diagnostic(`closed ${(await closed) - before} ms after the click`);
    await elsewhere.goto(`${gateway.origin}/`);
    await elsewhere.getByTestId('sign-in-name').waitFor();
    await second.close();
  });

  await t.test('a port is for people by name, and public until a deadline', async () => {
    const port = await freePort();
    await gateway.serveInside(bob.token, codespace.name, [process.execPath, '-e', `require('http').createServer((q, s) => s.end('hi')).listen(${port}, '127.0.0.1')`], port);
    await page.goto(`${gateway.origin}/codespaces/${codespace.name}`);
    const row = page.locator(`[data-testid=port-row][data-port="${port}"]`);
    await row.getByTestId('port-more').click();
    await row.getByTestId('port-users').fill('ada, nobody-here');
    await row.getByTestId('port-users').press('Enter');
    await page.getByTestId('toast').getByText('nobody-here').waitFor();
    await row.getByTestId('port-users').fill('Ada');
    await row.getByTestId('port-users').press('Enter');
    await row.getByTestId('port-people').waitFor();
    assert.deepEqual((await gateway.listed(bob.token, codespace.name, port)).users, ['ada']);
    await row.getByTestId('port-visibility').selectOption('public');
    await page.getByTestId('public-for').selectOption('3600');
    await shot(page, 'accounts-09-publish');
    // The row tells it before the page has heard the answer, which closes the row's options.
    const answered = page.waitForResponse((answer) => answer.request().method() === 'PATCH');
    await page.getByTestId('confirm-public').click();
    await (await answered).finished();
    await row.getByTestId('port-until').waitFor();
    const { expires_at: until } = await gateway.listed(bob.token, codespace.name, port);
    assert.ok(Math.abs(Date.parse(until) - Date.now() - 3_600_000) < 900_000, until);
    await page.setViewportSize(PHONE);
    await page.emulateMedia({ colorScheme: 'dark' });
    await row.getByTestId('port-more').click();
    await row.getByTestId('port-deadline').waitFor();
    await fits(page, 'the options of a port');
    await row.scrollIntoViewIfNeeded();
    await shot(page, 'accounts-10-port-phone');
    await row.getByTestId('port-deadline').selectOption('');
    await row.getByRole('button', { name: 'Save' }).click();
    await eventually('the deadline is gone', async () => (await gateway.listed(bob.token, codespace.name, port)).expires_at === null);
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.emulateMedia({ colorScheme: 'light' });
  });

  await t.test('administrators see people and what happened', async () => {
    const adas = await person();
    const admin = await adas.newPage();
    await signIn(admin, gateway, ada);
    await admin.getByTestId('admin').click();
    const bobsRow = admin.locator('[data-testid=person][data-name=bob]');
    await bobsRow.waitFor();
    await shot(admin, 'accounts-11-people');
    const zoe = 'first-password-of-zoe';
    gateway.keepSecret('password', zoe);
    await admin.getByLabel('Name', { exact: true }).fill('zoe');
    await admin.getByLabel('First password').fill(zoe);
    await admin.getByRole('button', { name: 'Add' }).click();
    await admin.locator('[data-testid=person][data-name=zoe]').waitFor();
    await admin.locator('[data-testid=person][data-name=ada]').getByTestId('change-role').click();
    await shot(admin, 'accounts-12-role');
    await admin.getByTestId('confirm').click();
    await admin.getByTestId('toast').getByText('last administrator').waitFor();
    await admin.keyboard.press('Escape');
    await bobsRow.getByTestId('suspend').click();
    await admin.getByTestId('confirm').click();
    await bobsRow.getByText('Suspended').waitFor();
    assert.equal((await gateway.api(bob.token, 'GET', '/user')).status, 401);
    const refused = await cli.run(['whoami'], { status: 3 });
    assert.match(refused.stderr, /not valid/);
    await page.goto(`${gateway.origin}/`);
    await page.getByTestId('sign-in-name').waitFor();
    await bobsRow.getByTestId('resume').click();
    await eventually('bob is back', async () => (await gateway.api(bob.token, 'GET', '/user')).status === 200);
    // The page asks once.
    await eventually('the log has it', async () => (await gateway.call(ada.token, 'GET', '/audit?event=user.restored')).length > 0);
    await admin.goto(`${gateway.origin}/admin/audit?user=bob`);
    const events = admin.getByTestId('events');
    for (const event of ['user.suspended', 'user.restored', 'device.granted', 'token.created', 'token.revoked', 'session.created']) {
      await events.locator(`[data-event="${event}"]`).first().waitFor();
    }
    await shot(admin, 'accounts-13-audit');
    await admin.setViewportSize(PHONE);
    await admin.emulateMedia({ colorScheme: 'dark' });
    await fits(admin, 'the audit log');
    await shot(admin, 'accounts-14-audit-phone');
    await admin.goto(`${gateway.origin}/admin`);
    await bobsRow.waitFor();
    await fits(admin, 'people');
    await shot(admin, 'accounts-15-people-phone');
    const member = await person();
    const visit = await member.newPage();
    await signIn(visit, gateway, bob);
    await visit.getByTestId('settings').filter({ hasText: 'bob' }).waitFor();
    assert.equal(await visit.getByTestId('admin').count(), 0);
    await visit.goto(`${gateway.origin}/admin/audit`);
    await visit.getByRole('heading', { name: 'For administrators' }).waitFor();
  });

  await t.test('audit_1: the command line reads the same log, up and down', async () => {
    const listed = JSON.parse((await gateway.command(['audit', '--user', 'bob', '--event', 'user.suspended', '--json', '--data', gateway.data])).stdout);
    assert.deepEqual(listed.map(({ actor, target, address }) => [actor, target, address]), [['ada', 'bob', '127.0.0.1']]);
    assert.match(listed[0].request_id, /./);
    const lines = (await gateway.command(['audit', '--lines', '--since', '1h', '--data', gateway.data])).stdout;
    const events = lines.trim().split('\n').map((line) => JSON.parse(line).event);
    for (const event of ['port.changed', 'codespace.created', 'session.ended']) assert.ok(events.includes(event), `${event} is not in ${events}`);
    for (const [what, secret] of gateway.secrets) assert.ok(!lines.includes(secret), `the ${what} is in the audit log`);
    assert.equal((await gateway.command(['audit'], { token: bob.token, status: 3 })).stdout, '');
  });

  await t.test('a logout revokes the token and forgets it', async () => {
    const { token } = JSON.parse(readFileSync(cli.file)).gateways[gateway.origin];
    await gateway.keepCookies(bobs);
    await cli.run(['logout']);
    assert.equal((await gateway.api(token, 'GET', '/user')).status, 401);
    assert.deepEqual(JSON.parse(readFileSync(cli.file)).gateways, {});
    assert.equal((await cli.run(['logout'], { status: 2 })).stdout, '');
  });
});
