// Signing in from outside: a real provider of OpenID Connect, a real Chromium, and a trusted proxy's header.
import assert from 'node:assert/strict';
import http from 'node:http';
import path from 'node:path';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { becomes, eventually } from './harness/eventually.mjs';
import { Gateway, freePort } from './harness/gateway.mjs';
import { request, websocket } from './harness/http.mjs';
import { Identities, SECRET, logIn } from './harness/provider.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

const APP = path.resolve(import.meta.dirname, 'fixtures/app.mjs');
const WANTED = '/new?repository=https%3A%2F%2Fgit.example%2Fa';

const people = () => ({
  ada: { password: 'pw-ada', groups: ['eng', 'everyone'] },
  bob: { password: 'pw-bob', groups: ['eng'] },
  carol: { password: 'pw-carol', groups: ['ops'] },
  eve: { password: 'pw-eve', groups: [] },
});

const configuration = (provider) => `
[provider.example]
label = "Example"
issuer = "${provider.issuer}"
client_id = "portico"
client_secret = "${SECRET}"
scopes = ["profile", "email", "groups"]
groups_claim = "groups"
organisations = ["eng", "ops"]
sign_up = ["ada@example.com", "bob", "carol@example.com"]
`;

async function begin(t, more = '') {
  const provider = await Identities.start(t, people());
  const gateway = await Gateway.start(t, { editor: false, config: `${configuration(provider)}${more}` });
  gateway.keepSecret('client secret', SECRET);
  await provider.serve(`${gateway.origin}/sign-in/callback/example`);
  const root = await gateway.user('root', { admin: true });
  return { provider, gateway, root };
}

/** Opens a page that wants a sign-in, and goes to the provider. */
async function go(page, gateway, wanted = WANTED) {
  await page.goto(`${gateway.origin}${wanted}`);
  await page.getByTestId('sign-in-with').click();
}

const whoIs = (page) => page.evaluate(async () => (await (await fetch('/api/v1/user')).json()).name);

test('OIDC-1 OIDC-3 signing in with a real provider', async (t) => {
  const { provider, gateway, root } = await begin(t);
  const { person, shot } = await browser(t);
  const ada = await person();
  const page = await ada.newPage();
  const callbacks = [];
  page.on('request', (asked) => asked.url().includes('/sign-in/callback/') && callbacks.push(asked.url()));

  await t.test('a wrong password stays at the provider, a right one ends at the wanted page', async () => {
    await go(page, gateway);
    await logIn(page, 'ada', 'wrong');
    assert.match(await page.locator('#said').textContent(), /Wrong name or password/);
    await logIn(page, 'ada', 'pw-ada');
    await page.waitForURL(`${gateway.origin}${WANTED}`);
    assert.equal(await whoIs(page), 'ada');
    const cookies = (await ada.cookies(gateway.origin)).map((cookie) => cookie.name);
    assert.deepEqual(cookies, ['__Host-portico_session'], "nothing of the flow is left");
  });

  await t.test('AUTH-2 a state is of no use a second time, nor in another browser', async () => {
    await page.goto(callbacks[0]);
    assert.match(await page.locator('h1').textContent(), /no longer good/);
    await shot(page, 'sign-in-stale');
    const start = await request(gateway.port, { host: gateway.host, path: '/sign-in/with/example?next=%2F' });
    assert.equal(start.status, 303);
    const victim = await (await person()).newPage();
    const answered = victim.waitForResponse((answer) => answer.url().includes('/sign-in/callback/'));
    await victim.goto(start.headers.location);
    await logIn(victim, 'bob', 'pw-bob');
    assert.equal((await answered).status(), 400);
    assert.match(await victim.locator('h1').textContent(), /no longer good/);
    await victim.getByRole('link', { name: 'Start again with Example' }).click();
    await victim.waitForURL(`${gateway.origin}/`);
    assert.equal(await whoIs(victim), 'bob');
  });

  await t.test('somebody whom the operator did not let in is told whom to ask', async () => {
    const eve = await (await person({ viewport: { width: 360, height: 700 }, colorScheme: 'dark' })).newPage();
    await eve.goto(`${gateway.origin}/settings`);
    await shot(eve, 'sign-in-page');
    await eve.getByTestId('sign-in-with').click();
    await logIn(eve, 'eve', 'pw-eve');
    await eve.waitForURL((url) => url.pathname === '/sign-in/callback/example');
    assert.match(await eve.locator('h1').textContent(), /may not sign in here/);
    assert.match(await eve.locator('main').textContent(), /eve@example\.com at Example/);
    await shot(eve, 'sign-in-not-allowed');
    const cancelled = await (await person()).newPage();
    await go(cancelled, gateway);
    await cancelled.locator('button[name=cancel]').click();
    await cancelled.waitForURL((url) => url.pathname === '/sign-in/callback/example');
    assert.match(await cancelled.locator('h1').textContent(), /Example did not let you through/);
  });

  await t.test('the provider changes its keys', async () => {
    await provider.rotate();
    const carol = await (await person()).newPage();
    // Keys that were read a moment ago are not asked for again at once.
    await eventually('the new key is known', async () => {
      await carol.goto(`${gateway.origin}/sign-in/with/example?next=%2Fsettings`);
      if (await carol.locator('input[name=login]').count()) await logIn(carol, 'carol', 'pw-carol');
      await carol.waitForURL((url) => url.origin === gateway.origin && !url.pathname.startsWith('/sign-in/with'));
      return new URL(carol.url()).pathname === '/settings';
    });
    assert.equal(await whoIs(carol), 'carol');
  });

  await t.test('FAIL-1 the provider is down, and a password still signs in', async () => {
    await provider.stop();
    const late = await (await person()).newPage();
    await eventually('the page says so', async () => {
      const answer = await late.goto(`${gateway.origin}/sign-in/with/example?next=%2Fsettings`).catch(() => undefined);
      return answer?.status() === 502;
    });
    assert.match(await late.locator('h1').textContent(), /Example does not answer/);
    await shot(late, 'sign-in-provider-down');
    await late.getByRole('link', { name: 'Sign in with a password' }).click();
    await late.getByTestId('sign-in-name').fill('root');
    await late.getByTestId('sign-in-password').fill(root.password);
    await late.getByTestId('sign-in-submit').click();
    await late.waitForURL(`${gateway.origin}/settings`);
    await provider.serve();
  });

  await t.test('OIDC-1 an account links an identity in its settings and takes it off again', async () => {
    provider.people.root = { password: 'pw-root' };
    const mine = await (await person()).newPage();
    await signIn(mine, gateway, root, '/settings');
    await eventually('the provider is back', async () => {
      await mine.goto(`${gateway.origin}/settings`);
      await mine.getByTestId('link-example').click();
      return mine.waitForURL((url) => url.host.startsWith('id.'), { timeout: 20_000 }).then(() => true);
    });
    await logIn(mine, 'root', 'pw-root');
    await mine.waitForURL(`${gateway.origin}/settings`);
    assert.match(await mine.getByTestId('identity').textContent(), /root@example\.com/);
    await shot(mine, 'sign-in-linked');
    await mine.getByTestId('unlink').click();
    await mine.getByTestId('identity').waitFor({ state: 'detached' });
    // An account that its provider made has one way in: nothing to unlink on its page, and none by the API.
    await page.goto(`${gateway.origin}/settings`);
    await page.getByTestId('identity').waitFor();
    assert.equal(await page.getByTestId('unlink').count(), 0);
    const refused = await page.evaluate(async () => {
      const { identities } = await (await fetch('/api/v1/user/identities')).json();
      const answer = await fetch(`/api/v1/user/identities/${identities[0].id}`, { method: 'DELETE', headers: { 'content-type': 'application/json' } });
      return { status: answer.status, ...(await answer.json()) };
    });
    assert.equal(refused.status, 409);
    assert.match(refused.detail, /the only way into the account/);
  });

  await t.test('LOG-1 no code, state or secret is in the log', () => {
    const log = gateway.log();
    assert.ok(callbacks.length > 0 && !log.includes(SECRET));
    for (const callback of callbacks) {
      const query = new URL(callback).searchParams;
      for (const name of ['code', 'state']) {
        assert.ok(!query.get(name) || !log.includes(query.get(name)), name);
        if (query.get(name)) gateway.keepSecret(name, query.get(name));
      }
    }
  });
});

test('OIDC-2 a domain counts in an address that is verified, behind its only @', async (t) => {
  const verified = { email_verified: true };
  const addresses = [
    ['as it is', 'ada@corp.example', verified, true],
    ['the domain in capitals', 'ada@CORP.Example', verified, true],
    ['a quoted name', '"ada b"@corp.example', verified, true],
    ['verified as a text', 'ada@corp.example', { email_verified: 'true' }, false],
    ['verified as a number', 'ada@corp.example', { email_verified: 1 }, false],
    ['verified as a list', 'ada@corp.example', { email_verified: [true] }, false],
    ['not verified', 'ada@corp.example', { email_verified: false }, false],
    ['nothing of that', 'ada@corp.example', { email_verified: undefined }, false],
    ['no address', undefined, verified, false],
    ['a list of addresses', ['ada@corp.example'], verified, false],
    ['two @, ours last', 'ada@evil.example@corp.example', verified, false],
    ['two @, ours first', 'ada@corp.example@evil.example', verified, false],
    ['an @ inside of quotes', '"ada@evil.example"@corp.example', verified, false],
    ['ours inside of quotes', '"ada@corp.example"@evil.example', verified, false],
    ['no name', '@corp.example', verified, false],
    ['no @', 'corp.example', verified, false],
    ['below it', 'ada@sub.corp.example', verified, false],
    ['ending like it', 'ada@xcorp.example', verified, false],
    ['going on', 'ada@corp.example.evil.example', verified, false],
    ['a dot at the end', 'ada@corp.example.', verified, false],
    ['a dot before', 'ada@.corp.example', verified, false],
    ['a space at the end', 'ada@corp.example ', verified, false],
    ['a letter that looks like one', 'ada@c\u043erp.example', verified, false],
    ['the same in punycode', 'ada@xn--crp-hed.example', verified, false],
    ['letters of full width', 'ada@\uff43\uff4f\uff52\uff50.example', verified, false],
    ['an @ of full width', 'ada\uff20corp.example', verified, false],
    ['a full stop that is another', 'ada@corp\u3002example', verified, false],
    ['a joiner inside', 'ada@co\u200drp.example', verified, false],
    ['a long s for an s', 'ada@\u017ftrasse.example', verified, false],
    ['a control character', 'ada@corp.example\u0000', verified, false],
    ['several addresses', 'eve@evil.example,ada@corp.example', verified, false],
    ['one in brackets', 'ada <ada@corp.example>', verified, false],
  ];
  const provider = await Identities.start(t, {});
  addresses.forEach(([, email, more], index) => (provider.people[`p${index}`] = { password: `pw-of-somebody-${index}`, claims: { email, ...more } }));
  const rules = 'allowed_domains = ["corp.example", "strasse.example"]\nsign_up = true\n';
  const config = `[provider.example]\nissuer = "${provider.issuer}"\nclient_id = "portico"\nclient_secret = "${SECRET}"\nscopes = ["profile", "email"]\n${rules}[limits]\nattempts_per_address = "500 in 150s"\nattempts = "500 in 40s"\n`;
  const gateway = await Gateway.start(t, { editor: false, config });
  gateway.keepSecret('client secret', SECRET);
  await gateway.user('root', { admin: true });
  for (const inTokens of [false, true]) {
    provider.inTokens = inTokens;
    await provider.serve(`${gateway.origin}/sign-in/callback/example`);
    for (const [index, [what, , , good]] of addresses.entries()) {
      await t.test(`${what}, ${inTokens ? 'in the ID token' : 'in the answer of userinfo'}`, async () => {
        const ended = await walk(gateway, provider, { login: `p${index}`, password: `pw-of-somebody-${index}` });
        assert.equal(ended.status, good ? 303 : 403, ended.text);
        assert.equal(ended.session, good);
        if (!good) assert.match(ended.text, /may not sign in here/);
      });
    }
  }
});

/** Signs in as a browser does that keeps cookies and follows redirects; what the gateway says to the provider's answer. */
async function walk(gateway, provider, { login, password }) {
  const jars = new Map();
  const ask = async (address, { method = 'GET', body } = {}) => {
    const { port, host, pathname, search } = new URL(address);
    if (!jars.has(host)) jars.set(host, new Map());
    const jar = jars.get(host);
    const headers = { cookie: [...jar].map((pair) => pair.join('=')).join('; '), ...(body ? { 'content-type': 'application/x-www-form-urlencoded' } : {}) };
    const answer = await request(port, { host, method, path: pathname + search, headers, body });
    for (const set of answer.headers['set-cookie'] ?? []) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(set);
      if (value && !/expires=Thu, 01 Jan 1970|max-age=0/i.test(set)) jar.set(name, value);
      else jar.delete(name);
    }
    return { ...answer, next: answer.headers.location && new URL(answer.headers.location, address).href };
  };
  let at = await ask(`${gateway.origin}/sign-in/with/example?next=%2Fsettings`);
  for (let hops = 0; hops < 12; hops += 1) {
    const { next } = at;
    assert.ok(next?.startsWith(provider.issuer) || next?.startsWith(gateway.origin), `${at.status} ${next} ${at.text}`);
    at = await ask(next);
    if (next.includes('/interaction/') && at.status === 200) at = await ask(next, { method: 'POST', body: `${new URLSearchParams({ login, password })}` });
    if (next.startsWith(`${gateway.origin}/sign-in/callback/`)) return { ...at, session: jars.get(gateway.host).has('__Host-portico_session') };
  }
  throw new Error('it goes round');
}

test('SESS-4 sign-ins end where they came from', async (t) => {
  const { provider, gateway } = await begin(t);
  const { person, shot } = await browser(t);
  const enter = async (context, name) => {
    const page = await context.newPage();
    await page.goto(`${gateway.origin}/sign-in/with/example?next=%2Fsettings`);
    await logIn(page, name, `pw-${name}`);
    await page.waitForURL(`${gateway.origin}/settings`);
    return page;
  };
  /** Confirms it at the provider, and returns when it has taken that in. */
  const confirm = async (page) => {
    await page.locator('button[name=logout][value=yes]').click();
    await page.locator('button[name=logout]').first().waitFor({ state: 'detached' });
    await page.waitForLoadState();
  };

  await t.test('a sign-out at the provider ends the session here, and what it holds open', async () => {
    const context = await person();
    const [page, bob] = [await enter(context, 'ada'), await enter(await person(), 'bob')];
    await page.evaluate(() => {
      fetch('/api/v1/events').then(async (answer) => {
        const reader = answer.body.getReader();
        window.open_ = true;
        while (!(await reader.read().catch(() => ({ done: true }))).done);
        window.endedAt = Date.now();
      });
    });
    await page.waitForFunction(() => window.open_);
    const there = await context.newPage();
    await there.goto(`${provider.issuer}/session/end`);
    await confirm(there);
    await page.waitForFunction(() => window.endedAt);
    const [logout] = provider.logouts;
    await becomes(() => logout.status, 200);
    t.diagnostic(`it ended ${(await page.evaluate(() => window.endedAt)) - logout.at} ms after the provider said so`);
    assert.equal((await page.goto(`${gateway.origin}/settings`)).url(), `${gateway.origin}/sign-in?next=%2Fsettings`);
    assert.equal(await whoIs(bob), 'bob', "nobody else's ends");
    // The same token again, as somebody would who saw it pass.
    const again = await request(gateway.port, {
      host: gateway.host, method: 'POST', path: '/sign-in/back-channel/example', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: logout.body,
    });
    assert.equal(again.status, 400);
    const token = new URLSearchParams(logout.body).get('logout_token');
    assert.ok(token.length > 100 && !gateway.log().includes(token.slice(0, 60)), 'LOG-1');
  });

  await t.test('a sign-out here offers to sign out there, too', async () => {
    const page = await enter(await person({ viewport: { width: 360, height: 700 }, colorScheme: 'dark' }), 'carol');
    await page.getByTestId('sign-out').click();
    await page.waitForURL(`${gateway.origin}/sign-in`);
    const link = page.getByTestId('sign-out-there');
    assert.equal(await link.textContent(), 'Sign out at Example, too');
    await shot(page, 'sign-out-offer');
    // Signed in there still: nobody asks who it is.
    await page.getByTestId('sign-in-with').click();
    await page.waitForURL(`${gateway.origin}/`);
    await page.getByTestId('sign-out').click();
    await link.click();
    await confirm(page);
    await page.goto(`${gateway.origin}/sign-in`);
    assert.equal(await link.count(), 0, 'it is offered once');
    await page.getByTestId('sign-in-with').click();
    await page.locator('input[name=login]').waitFor();
  });
});

test('SESS-4 a sign-out can go to the provider at once, and sessions have an end', async (t) => {
  const { provider, gateway } = await begin(t, 'sign_out = "there"\nmax_session = "5m"\n');
  const { person } = await browser(t);
  const context = await person();
  const page = await context.newPage();
  await page.goto(`${gateway.origin}/sign-in/with/example?next=%2Fsettings`);
  await logIn(page, 'ada', 'pw-ada');
  await page.waitForURL(`${gateway.origin}/settings`);
  const [cookie] = await context.cookies(gateway.origin);
  const left = cookie.expires - Date.now() / 1000;
  assert.ok(left > 200 && left <= 300, `${left}`);
  await page.getByTestId('sign-out').click();
  await page.waitForURL((url) => url.origin === provider.issuer);
  await page.locator('button[name=logout][value=yes]').click();
  await page.waitForURL(`${gateway.origin}/sign-in`);
  await page.getByTestId('sign-in-with').click();
  await page.locator('input[name=login]').waitFor();
});

test('SHARE-7 SESS-3 organisations decide about org ports, and follow the provider', async (t) => {
  const { provider, gateway } = await begin(t);
  const { person } = await browser(t);
  const enter = async (name) => {
    const context = await person();
    const page = await context.newPage();
    await page.goto(`${gateway.origin}/sign-in/with/example?next=%2Fsettings`);
    await logIn(page, name, `pw-${name}`);
    await page.waitForURL(`${gateway.origin}/settings`);
    const token = (await gateway.command(['token', 'create', '--user', name, '--scope', 'all', '--data', gateway.data])).stdout.trim();
    return { context, page, token };
  };
  const [ada, bob, carol] = [await enter('ada'), await enter('bob'), await enter('carol')];
  const admin = await gateway.command(['token', 'create', '--user', 'ada', '--scope', 'all', '--data', gateway.data]);
  const { name } = await gateway.codespace(admin.stdout.trim(), `${await served(t)}/project`, { editor: false });
  const port = await freePort();
  await gateway.serveInside(ada.token, name, [process.execPath, APP, `${port}`], port);
  await gateway.call(ada.token, 'PATCH', `/codespaces/${name}/ports/${port}`, { visibility: 'org' });
  const opens = async ({ page }) => {
    const answer = await page.goto(gateway.urlOf(name, port));
    if (answer.status() >= 400) return answer.status();
    // The first answer may be a page of the sign-in's detour.
    await page.waitForFunction(() => document.title === 'An app');
    return 200;
  };
  assert.equal(await opens(bob), 200, 'bob is of the same');
  assert.equal(await opens(carol), 404, 'carol is of another');

  const closed = [];
  const sockets = await Promise.all(
    [bob, carol].map(({ token }) => websocket(gateway.port, { host: gateway.hostOf(name, port), path: '/socket', headers: { 'x-portico-token': token } })),
  );
  assert.deepEqual(sockets.map((opened) => opened.status), [101, 404]);
  sockets[0].socket.on('close', () => closed.push(Date.now()));
  provider.people.bob.groups = ['ops'];
  await bob.page.goto(`${gateway.origin}/sign-in/with/example?next=%2Fsettings`);
  await bob.page.waitForURL(`${gateway.origin}/settings`);
  const changed = Date.now();
  await eventually('the socket of somebody who left is closed', () => closed.length === 1);
  t.diagnostic(`closed ${closed[0] - changed} ms after the sign-in`);
  assert.equal(await opens(bob), 404, 'bob has left');
});

test('HDR-4 a trusted header signs in from its proxy alone, and reaches no app', async (t) => {
  const config = '[trusted_header]\nuser = "x-sso-user"\ngroups = "x-sso-groups"\nproxies = ["127.0.0.3"]\nsign_up = true\n';
  const gateway = await Gateway.start(t, { editor: false, config });
  const root = await gateway.user('root', { admin: true });
  const ask = (from, target, headers, method = 'GET', host = gateway.host) =>
    new Promise((done, fail) => {
      const call = http.request({ host: '127.0.0.1', port: gateway.port, localAddress: from, agent: false, method, path: target, headers: { host, ...headers } });
      call.on('error', fail);
      call.on('response', (response) => {
        let text = '';
        response.on('data', (chunk) => (text += chunk));
        response.on('end', () => done({ status: response.statusCode, headers: response.headers, text }));
      });
      call.end();
    });
  const own = { origin: gateway.origin, 'content-type': 'application/json' };
  const signInAs = (from, headers) => ask(from, '/api/v1/sign-in/header', { ...own, ...headers }, 'POST');
  assert.equal((await signInAs('127.0.0.1', { 'x-sso-user': 'ada' })).status, 401, 'from anybody');
  assert.equal((await signInAs('127.0.0.1', { 'x-sso-user': 'ada', 'x-forwarded-for': '127.0.0.3' })).status, 401, 'from somebody who lies');
  assert.equal((await signInAs('127.0.0.3', {})).status, 401, 'without the header');
  const answer = await signInAs('127.0.0.3', { 'x-sso-user': 'ada', 'x-sso-groups': 'eng' });
  assert.equal(answer.status, 204);
  const cookie = answer.headers['set-cookie'][0].split(';')[0];
  const user = await ask('127.0.0.3', '/api/v1/user', { cookie, 'x-sso-user': 'ada' });
  assert.equal(JSON.parse(user.text).name, 'ada');
  assert.equal((await ask('127.0.0.3', '/api/v1/user', { cookie, 'x-sso-user': 'bob' })).status, 401, 'somebody else sits there now');
  assert.match((await ask('127.0.0.3', '/sign-in', {})).text, /data-header/);

  const { name } = await gateway.codespace(root.token, `${await served(t)}/project`, { editor: false });
  const port = await freePort();
  await gateway.serveInside(root.token, name, [process.execPath, APP, `${port}`], port);
  for (const from of ['127.0.0.1', '127.0.0.3']) {
    const sent = { 'x-portico-token': root.token, 'x-sso-user': 'ada', 'X-SSO_groups': 'eng', 'x-sso-other': 'stays' };
    const echoed = await ask(from, '/echo', sent, 'GET', gateway.hostOf(name, port));
    assert.equal(echoed.status, 200, echoed.text);
    assert.doesNotMatch(echoed.text, /x-sso.(user|groups)/i);
    assert.match(echoed.text, /x-sso-other/);
  }
});

async function served(t) {
  return serveRepositories(t, { project: repository(t) });
}
