// Signing in with GitHub: its OAuth in the shape of a company's own server, and a real Chromium.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { Gateway, freePort } from './harness/gateway.mjs';
import { GitHub, HUB_SECRET } from './harness/github.mjs';
import { Identities, SECRET, logIn } from './harness/provider.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

const APP = path.resolve(import.meta.dirname, 'fixtures/app.mjs');
const WANTED = '/new?repository=https%3A%2F%2Fgit.example%2Fa';

const whoIs = (page) => page.evaluate(async () => (await (await fetch('/api/v1/user')).json()).name);

test('OIDC-1 OIDC-3 SHARE-7 signing in with GitHub', async (t) => {
  const verified = (email) => [{ email: `old-${email}`, primary: false, verified: true }, { email, primary: true, verified: true }];
  const hub = await GitHub.start(t, {
    ada: { id: 1001, emails: verified('ada@example.com'), organisations: ['eng', 'everyone'] },
    bob: { id: 1002, emails: verified('bob@example.com'), organisations: ['eng'] },
    carol: { id: 1003, emails: verified('carol@example.com'), organisations: ['ops'] },
    eve: { id: 1004, emails: [{ email: 'carol@example.com', primary: true, verified: false }] },
  });
  const provider = await Identities.start(t, { 1001: { password: 'pw-of-somebody-else' } });
  const config = `
[provider.hub]
kind = "github"
label = "Hub"
issuer = "${hub.site}"
client_id = "portico"
client_secret = "${HUB_SECRET}"
scopes = ["user:email", "read:org"]
organisations = ["eng", "ops"]
sign_up = ["ada@example.com", "bob@example.com", "carol@example.com", "2001"]

[provider.example]
issuer = "${provider.issuer}"
client_id = "portico"
client_secret = "${SECRET}"
scopes = ["profile", "email"]
sign_up = true
`;
  const gateway = await Gateway.start(t, { editor: false, config });
  gateway.keepSecret('client secret', HUB_SECRET);
  gateway.keepSecret('client secret', SECRET);
  hub.redirect = `${gateway.origin}/sign-in/callback/hub`;
  await provider.serve(`${gateway.origin}/sign-in/callback/example`);
  const root = await gateway.user('root', { admin: true });
  const { person, shot } = await browser(t);
  const callbacks = [];
  const go = async (context, wanted = '/settings') => {
    const page = await context.newPage();
    page.on('request', (asked) => asked.url().includes('/sign-in/callback/') && callbacks.push(asked.url()));
    await page.goto(`${gateway.origin}/sign-in/with/hub?next=${encodeURIComponent(wanted)}`);
    return page;
  };
  const choose = (page, login) => page.locator(`button[value=${login}]`).click();
  const enter = async (login, context) => {
    context ??= await person();
    const page = await go(context);
    await choose(page, login);
    await page.waitForURL(`${gateway.origin}/settings`);
    return { context, page };
  };
  /** What GitHub was told of a flow that begins in a browser, which stays on its page. */
  const begun = async (context) => {
    const page = await go(context);
    const query = new URL(page.url()).searchParams;
    const back = (code) => `${hub.redirect}?${new URLSearchParams({ code, state: query.get('state') })}`;
    return { page, challenge: query.get('code_challenge'), back };
  };
  const stale = async (page, answer) => {
    assert.equal(answer.status(), 400);
    assert.match(await page.locator('h1').textContent(), /no longer good/);
  };
  const ada = await person();
  let page;

  await t.test('it ends at the wanted page, and nothing of the flow is left', async () => {
    page = await go(ada, WANTED);
    await choose(page, 'ada');
    await page.waitForURL(`${gateway.origin}${WANTED}`);
    assert.equal(await whoIs(page), 'ada');
    assert.deepEqual((await ada.cookies(gateway.origin)).map((cookie) => cookie.name), ['__Host-portico_session']);
    assert.deepEqual(hub.trades.map(({ error }) => error), [undefined], 'the verifier was that of the challenge');
  });

  await t.test('AUTH-2 a state is of no use a second time, nor in another browser', async () => {
    const again = await ada.newPage();
    await stale(again, await again.goto(callbacks[0]));
    const attacker = await begun(await person());
    const victim = await (await person()).newPage();
    await stale(victim, await victim.goto(attacker.back(hub.code('eve', attacker.challenge))));
    assert.equal(hub.trades.length, 1, 'GitHub was not even asked');
    assert.equal((await (await victim.context()).cookies(gateway.origin)).filter(({ name }) => /session/.test(name)).length, 0);
  });

  await t.test('a wrong code, one of another flow, and one that was used already', async () => {
    for (const [what, codeOf] of [
      ['wrong', () => '0123456789abcdef0123'],
      ['of another flow', () => hub.code('ada', 'a-challenge-of-another-flow')],
      ['used', () => new URL(callbacks[0]).searchParams.get('code')],
    ]) {
      const flow = await begun(await person());
      await stale(flow.page, await flow.page.goto(flow.back(codeOf())));
      assert.equal(hub.trades.at(-1).error, 'bad_verification_code', what);
    }
    const cancelled = await go(await person());
    await cancelled.locator('button[name=cancel]').click();
    await cancelled.waitForURL((url) => url.pathname === '/sign-in/callback/hub');
    assert.match(await cancelled.locator('h1').textContent(), /Hub did not let you through/);
  });

  await t.test('an address that is not verified lets nobody make an account', async () => {
    const eve = await go(await person());
    await choose(eve, 'eve');
    await eve.waitForURL((url) => url.pathname === '/sign-in/callback/hub');
    assert.match(await eve.locator('h1').textContent(), /may not sign in here/);
  });

  await t.test('OIDC-1 somebody is who has the id, whatever login, address or number another one shows', async () => {
    // She gave up her login, and somebody else took it, with an address that was hers.
    const { ada: hers } = hub.people;
    hub.people = { ...hub.people, countess: hers, ada: { id: 2001, emails: verified('ada@example.com') } };
    assert.equal(await whoIs((await enter('ada')).page), 'ada-2');
    const same = await enter('countess');
    assert.equal(await whoIs(same.page), 'ada');
    // The same number at another provider is another one's.
    const other = await (await person()).newPage();
    await other.goto(`${gateway.origin}/sign-in/with/example?next=%2Fsettings`);
    await logIn(other, '1001', 'pw-of-somebody-else');
    await other.waitForURL(`${gateway.origin}/settings`);
    assert.equal(await whoIs(other), '1001');
    // What is somebody's is linked to nobody else, and that is told.
    const mine = await (await person()).newPage();
    await signIn(mine, gateway, root, '/settings');
    await mine.getByTestId('link-hub').click();
    await choose(mine, 'countess');
    await mine.waitForURL((url) => url.pathname === '/sign-in/callback/hub');
    assert.match(await mine.locator('h1').textContent(), /has an account of its own here/);
    const identities = (page) => page.evaluate(async () => (await (await fetch('/api/v1/user/identities')).json()).identities.map(({ shown }) => shown));
    assert.deepEqual(await identities(same.page), ['countess']);
    await mine.goto(`${gateway.origin}/settings`);
    assert.deepEqual(await identities(mine), []);
  });

  await t.test('SHARE-7 its organisations decide about org ports, and follow it', async () => {
    const people = { bob: await enter('bob'), carol: await enter('carol') };
    const token = (await gateway.command(['token', 'create', '--user', 'ada', '--scope', 'all', '--data', gateway.data])).stdout.trim();
    const { name } = await gateway.codespace(token, `${await serveRepositories(t, { project: repository(t) })}/project`, { editor: false });
    const port = await freePort();
    await gateway.serveInside(token, name, [process.execPath, APP, `${port}`], port);
    await gateway.call(token, 'PATCH', `/codespaces/${name}/ports/${port}`, { visibility: 'org' });
    const opens = async (page) => {
      const answer = await page.goto(gateway.urlOf(name, port));
      if (answer.status() >= 400) return answer.status();
      await page.waitForFunction(() => document.title === 'An app');
      return 200;
    };
    assert.equal(await opens(people.bob.page), 200, 'bob is of the same');
    assert.equal(await opens(people.carol.page), 404, 'carol is of another');
    hub.people.bob.organisations = ['ops', 'everyone'];
    await enter('bob', people.bob.context);
    assert.equal(await opens(people.bob.page), 404, 'bob has left');
  });

  await t.test('FAIL-1 it is down, and a password still signs in', async () => {
    const context = await person();
    const flow = await begun(context);
    await hub.stop();
    const answer = await flow.page.goto(flow.back('0123456789abcdef0123'));
    assert.equal(answer.status(), 502);
    assert.match(await flow.page.locator('h1').textContent(), /Hub does not answer/);
    await shot(flow.page, 'sign-in-github-down');
    assert.equal((await context.cookies(gateway.origin)).filter(({ name }) => /session/.test(name)).length, 0);
    await signIn(flow.page, gateway, root, '/settings');
    await hub.serve();
  });

  await t.test('LOG-1 no code, state or token is in the log', () => {
    const log = gateway.log();
    const said = callbacks.flatMap((callback) => ['code', 'state'].map((name) => new URL(callback).searchParams.get(name))).filter(Boolean);
    assert.ok(said.length > 4 && hub.tokens.size > 4);
    for (const secret of [HUB_SECRET, ...said, ...hub.tokens.keys()]) assert.ok(!log.includes(secret));
  });
});
