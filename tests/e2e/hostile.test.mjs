// The hostile matrix: a page of one codespace's port against another codespace and the gateway, in a browser whose person
// is signed in to all of them. Rows are attacks (harness/attacks.mjs), columns are targets; a line is printed for each cell.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ATTACKS, NAMES, tools } from './harness/attacks.mjs';
import { signIn } from './harness/browser.mjs';
import { becomes, eventually } from './harness/eventually.mjs';
import { App, records, visit, world } from './harness/matrix.mjs';

const SECRETS = { private: 'word-of-the-private-port', editor: 'word-of-the-editor', gateway: 'word-of-the-gateway' };

/** Attacks that ask the target for nothing, and what Chromium does within a site alone. */
const AT_HOME = /^cookies:|^Clear-Site-Data:|^service worker: ours to register there|^speculation: pre/;

for (const tls of [false, true]) {
  test(`hostile pages over ${tls ? 'https' : 'http'}`, async (t) => {
    const scene = await stage(t, tls);
    // A stranger's page meets everything; a sibling's is one of the family, and kept from the editor's powers and the gateway.
    await raid(t, scene, scene.stranger, ['private', 'public', 'editor', 'gateway']);
    await raid(t, scene, scene.sibling, ['editor', 'gateway']);
    await scene.end(t);
  });
}

/** The victim ada, signed in everywhere, and two attackers' pages in her browser. */
async function stage(t, tls) {
  const { gateway, accounts, codespace, person } = await world(t, { tls, people: ['root', 'ada', 'mallory'] });
  const { ada, mallory } = accounts;
  const [victim, evil] = await Promise.all([codespace('ada', { display_name: SECRETS.editor }), codespace('mallory')]);
  const start = (who, where, word, visibility) => App.start(gateway, accounts[who].token, where, word, visibility);
  const [hers, open, sibling, stranger] = await Promise.all([
    start('ada', victim, SECRETS.private),
    start('ada', victim, 'a public word', 'public'),
    start('ada', victim, 'a sibling'),
    start('mallory', evil, 'a stranger', 'org'),
  ]);
  const apps = { private: hers, public: open, sibling, stranger };
  await gateway.call(ada.token, 'POST', '/tokens', { name: SECRETS.gateway, scope: 'read' });
  const terminal = await gateway.call(ada.token, 'POST', `/codespaces/${victim}/terminals`, { cols: 80, rows: 24 });

  const context = await person({ viewport: { width: 800, height: 600 } });
  await context.addInitScript(tools);
  const home = await context.newPage();
  await signIn(home, gateway, ada);
  const pages = { gateway: home };
  const targets = targetsOf({ gateway, victim, apps, terminal, mallory });
  for (const column of ['private', 'public', 'editor']) {
    pages[column] = await context.newPage();
    await visit(pages[column], `${targets[column].origin}/${column === 'editor' ? 'healthz' : ''}`);
  }
  const attackers = {};
  for (const name of ['stranger', 'sibling']) {
    const page = await context.newPage();
    await visit(page, `${apps[name].origin}/`);
    await page.getByRole('heading', { name: apps[name].word }).waitFor();
    attackers[name] = { name, page, app: apps[name] };
  }
  const scene = { gateway, accounts, victim, apps, context, pages, targets, ...attackers };
  await stillSignedIn(scene);
  scene.before = await belongings(scene);
  scene.end = (t) => afterwards(t, scene);
  return scene;
}

function targetsOf({ gateway, victim, apps, terminal, mallory }) {
  const ws = gateway.scheme === 'https' ? 'wss' : 'ws';
  const of = (id, host, { paths, acts, sockets }) => ({
    id,
    origin: `${gateway.scheme}://${host}`,
    host: host.split(':')[0],
    secret: SECRETS[id] ?? '',
    paths,
    acts: acts.map(({ path, ...act }) => ({ url: `${gateway.scheme}://${host}${path}`, ...act })),
    sockets: sockets.map((path) => `${ws}://${host}${path}`),
  });
  const app = {
    paths: { default: '/m/CELL/x.END' },
    acts: [
      { path: '/m/CELL/act', form: { a: '1' }, json: '{"a": 1}' },
      { path: '/.portico/redeem', form: { ticket: 'x~y' }, json: '{"ticket": "x"}' },
    ],
    sockets: ['/m/CELL/socket'],
  };
  const attach = `/codespaces/${victim}/terminals/${terminal.id}/attach?client=x`;
  const login = { name: mallory.name, password: mallory.password };
  const stop = { form: { reason: 'x' }, json: '{"reason": "x"}' };
  return {
    private: of('private', apps.private.host, app),
    public: of('public', apps.public.host, app),
    editor: of('editor', gateway.hostOf(victim), {
      paths: { default: '/m/CELL/x.END', json: `/.portico/api/v1/codespaces/${victim}`, js: `/.portico/api/v1/codespaces/${victim}` },
      acts: [
        { path: `/.portico/api/v1/codespaces/${victim}/stop`, ...stop },
        { path: '/.portico/arrive', form: { ticket: 'x~y' }, json: '{"ticket": "x"}' },
        { path: '/m/CELL/act', form: { a: '1' }, json: '{"a": 1}' },
      ],
      sockets: [`/.portico/api/v1${attach}`, '/m/CELL/socket?reconnectionToken=00000000-0000-4000-8000-000000000000&reconnection=false&skipWebSocketFrames=false'],
    }),
    gateway: of('gateway', gateway.host, {
      paths: { default: '/settings', json: '/api/v1/tokens', js: '/api/v1/tokens', events: '/api/v1/events' },
      acts: [
        { path: `/api/v1/codespaces/${victim}/stop`, ...stop },
        { path: '/api/v1/sign-out', form: {}, json: '{"everywhere": true}' },
        { path: '/api/v1/sign-in', form: login, json: JSON.stringify(login) },
        { path: '/api/v1/tokens', form: { name: 'x' }, json: '{"name": "x", "scope": "all"}' },
      ],
      sockets: [`/api/v1${attach}`],
    }),
  };
}

/** Every attack against every column: what is tried, what arrived, what was learnt, and who is still signed in. */
async function raid(t, scene, attacker, columns) {
  const rows = Object.entries(ATTACKS).map(([attack, row], index) => ({ attack, run: row, ...(row.run ? row : {}), tag: (column) => `${attacker.name}-${index}-${column}` }));
  // Attacks of one kind go at once, as a page that means it would have it.
  for (const kind of new Set(rows.map(({ attack }) => attack.split(':')[0]))) {
    const together = rows.filter(({ attack }) => attack.split(':')[0] === kind);
    const learnt = await attacker.page.evaluate(
      script(together.map(({ run, tag }) => [run, columns.map((column) => aim(scene.targets[column], tag(column)))])),
    );
    await insist(scene, attacker, columns, together, learnt);
    await closeWindows(scene);
    const trouble = await stillSignedIn(scene).then(() => '', (error) => error.message);
    const now = await belongings(scene);
    const logged = await records(scene.gateway);
    for (const [at, { attack, tag, opens = false }] of together.entries()) {
      for (const [index, column] of columns.entries()) {
        await t.test(`${attacker.name} → ${column} · ${attack}`, () => {
          const known = learnt[at][index];
          for (const [owner, word] of Object.entries(SECRETS)) assert.ok(!known.includes(word), `it learnt what is the ${owner}'s: ${known}`);
          assert.doesNotMatch(known, /portico_(access|session)=/, 'no credential');
          // Anybody may open sockets of a public port.
          if (column !== 'public') assert.doesNotMatch(known, /socket opened/);
          // What anybody may open shows that the attack is one: there it arrives.
          if (column === 'public' && !AT_HOME.test(attack)) assert.ok(scene.apps.public.seen(tag(column)).length > 0, `nothing came of it: ${known}`);
          arrived(scene, attacker, column, tag(column), opens, logged);
          assert.equal(trouble, '', 'she is signed in to everything');
          assert.deepEqual(now, scene.before, 'nothing changed');
        });
      }
    }
    await forget(scene);
  }
}

/** Tries again, alone and twice at most, what has not come to the public port: a slow browser may have had no time for it. */
async function insist({ apps, targets }, attacker, columns, together, learnt) {
  const column = columns.indexOf('public');
  if (column < 0) return;
  const missed = ({ attack, tag }) => !AT_HOME.test(attack) && apps.public.seen(tag('public')).length === 0;
  for (const row of [...together, ...together]) {
    if (!missed(row)) continue;
    const [[known]] = await attacker.page.evaluate(script([[row.run, [aim(targets.public, row.tag('public'))]]]));
    learnt[together.indexOf(row)][column] += ` | ${known}`;
  }
}

/** What a page runs: each attack against each of its targets, all at once, and what each came to know as one text. */
function script(attacks) {
  const each = attacks.map(([run, targets]) => `[${run}, ${JSON.stringify(targets)}]`);
  return `(async () => {
    const told = (to, run) => {
      const path = (end) => to.origin + (to.paths[end] ?? to.paths.default).replace('END', end);
      return tools.soon(Promise.resolve().then(() => run({ ...to, path }, ${JSON.stringify({ names: NAMES })})).catch(String), 15000);
    };
    const attacks = [${each.join(',\n')}];
    const known = await Promise.all(attacks.map(([run, targets]) => Promise.all(targets.map((to) => told(to, run)))));
    return known.map((row) => row.map((known) => [known, globalThis.stolen].flat(9).map(String).join(' | ')));
  })()`;
}

/** A target with the cell's name in its addresses. */
function aim(target, tag) {
  return JSON.parse(JSON.stringify(target).replaceAll('CELL', tag));
}

/** What the target's app and the access log say of a cell. */
function arrived({ apps, targets }, attacker, column, tag, opens, records) {
  const logged = records.filter((record) => record.path.includes(tag) && record.host.split(':')[0] === targets[column].host && record.account);
  const family = attacker.name === 'sibling';
  if (!opens && !family) assert.deepEqual(logged.map(({ method, path, account }) => `${method} ${path} as ${account}`), [], 'nobody came with an identity');
  const app = apps[column];
  if (!app) return;
  for (const { method, url, headers } of app.seen(tag)) {
    assert.doesNotMatch(headers.cookie ?? '', /portico/i);
    if (column === 'public') continue;
    assert.ok(opens && method === 'GET' && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document', `${method} ${url} ${JSON.stringify(headers)}`);
  }
}

/** Closes what attacks opened: a window of the gateway's has no opener that could. */
async function closeWindows({ context, pages, stranger, sibling }) {
  const kept = [...Object.values(pages), stranger.page, sibling.page];
  await Promise.all(context.pages().filter((page) => !kept.includes(page)).map((page) => page.close()));
}

/** Takes away what apps' pages put into the browser, none of it ours. */
async function forget({ context }) {
  await context.clearCookies({ name: /^(?!__Host-portico_)/ });
}

/** Asks each host of hers from a page of its own: the sessions are there, and hers. */
async function stillSignedIn({ pages, victim, accounts }) {
  const ask = (page, path) =>
    page.evaluate(async (path) => (await fetch(path)).text(), path).catch((error) => {
      throw new Error(`${path} at ${page.url()}: ${error.message}`);
    });
  assert.equal(JSON.parse(await ask(pages.gateway, '/api/v1/user')).name, accounts.ada.name);
  assert.equal(JSON.parse(await ask(pages.editor, `/.portico/api/v1/codespaces/${victim}`)).display_name, SECRETS.editor);
  assert.match(await ask(pages.private, '/probe.json'), new RegExp(SECRETS.private));
}

/** What she has, as a hostile page could have changed it. */
async function belongings({ gateway, accounts, victim }) {
  const { token } = accounts.ada;
  const codespace = await gateway.call(token, 'GET', `/codespaces/${victim}`);
  const tokens = await gateway.call(token, 'GET', '/tokens');
  const sessions = await gateway.call(token, 'GET', '/sessions');
  return { state: codespace.state, ports: codespace.ports.map(({ port, visibility }) => [port, visibility]), tokens: tokens.map(({ name }) => name).sort(), sessions: sessions.length };
}

/**
 * What no gateway can keep a page from: it fills the browser's room for cookies of the domain. The gateway's own session
 * is on another site and stays; a codespace's cookie may go, and comes back with the next page. A head that became too
 * large by it is answered with a page that takes all of the domain's cookies away (HDR-10).
 */
async function afterwards(t, scene) {
  const { gateway, context, stranger, targets, pages } = scene;
  const session = async () => (await context.cookies(gateway.origin)).filter(({ name }) => name === '__Host-portico_session').map(({ value }) => value);
  const before = await session();
  assert.equal(before.length, 1);
  const fill = (count, size) =>
    stranger.page.evaluate(
      ([count, size, parent]) => {
        for (let index = 0; index < count; index += 1) document.cookie = `f${size}x${index}=${'x'.repeat(size)}; Path=/; Secure${index % 2 ? '' : `; Domain=${parent}`}; Max-Age=9999`;
        return document.cookie.split('; ').length;
      },
      [count, size, 'codespaces.localhost'],
    );
  const comesBack = async (column, end = '') => {
    const seen = [];
    const count = (request) => request.isNavigationRequest() && seen.push(request.url());
    pages[column].on('request', count);
    await visit(pages[column], `${targets[column].origin}/${end}`);
    pages[column].off('request', count);
    assert.ok(seen.length <= 8, `it went round: ${seen.join('\n')}`);
  };

  await t.test('stranger → everything · cookies: 450 small ones', async () => {
    assert.ok((await fill(450, 8)) >= 100);
    assert.deepEqual(await session(), before, "the gateway's session is where it was");
    await comesBack('editor', 'healthz');
    await comesBack('private');
    await stillSignedIn(scene);
    assert.deepEqual(await session(), before);
  });

  for (const [what, count, size] of [['what one field may hold', 12, 3000], ['what all fields may hold', 40, 4000], ['all that a browser keeps', 450, 4050]]) {
    await t.test(`HDR-10 stranger → everything · cookies: more than ${what}`, async () => {
      await fill(count, size);
      await pages.private.goto(`${targets.private.origin}/healed`, { waitUntil: 'commit' });
      const left = async () => (await context.cookies(targets.private.origin)).filter(({ name }) => name.startsWith('f'));
      await becomes(left, [], 'the page that says so has taken them away');
      await comesBack('private');
      await comesBack('editor', 'healthz');
      await stillSignedIn(scene);
      assert.deepEqual(await session(), before);
      await visit(stranger.page, `${stranger.app.origin}/`);
    });
  }

  await t.test('HOST-5 connections: a page of another codespace may have come over the same one', async () => {
    const devtools = await context.newCDPSession(stranger.page);
    const connections = new Map();
    devtools.on('Network.responseReceived', ({ response }) => connections.set(new URL(response.url).hostname, response.connectionId));
    await devtools.send('Network.enable');
    const known = await stranger.page.evaluate(async (urls) => {
      const ask = (url) => fetch(url, { credentials: 'include' }).then((answer) => answer.text(), String);
      return [await ask('/own.json'), ...(await Promise.all(urls.map(ask))), await ask('/own.json')];
    }, [`${targets.public.origin}/shared.json`, `${targets.private.origin}/kept.json`]);
    assert.match(known[0], /a stranger/);
    assert.match(known.at(-1), /a stranger/);
    assert.doesNotMatch(known.join(), new RegExp(SECRETS.private));
    // What the network did is told apart from what the page got.
    const [own, other] = await eventually('both are told', () => {
      const told = [stranger.app.host, targets.public.host].map((host) => connections.get(host.split(':')[0]));
      return told.every((id) => id !== undefined) && told;
    });
    t.diagnostic(`the stranger's page and another codespace's port: connections ${own} and ${other}`);
    if (gateway.scheme === 'https') assert.equal(own, other, 'the browser used one connection for both');
  });
  await t.test('HOST-7 connections: none that was opened for a port serves the gateway', async () => {
    if (gateway.scheme !== 'https') return;
    // One that was nowhere yet: the gateway has no connection of its own that would be taken instead.
    const fresh = await context.browser().newContext();
    const page = await fresh.newPage();
    await page.goto(`${targets.public.origin}/`);
    await page.getByTestId('warning-continue').click();
    await page.getByRole('heading', { name: scene.apps.public.word }).waitFor();
    const devtools = await fresh.newCDPSession(page);
    const told = [];
    devtools.on('Network.responseReceived', ({ response }) => told.push({ host: new URL(response.url).hostname, ...response }));
    await devtools.send('Network.enable');
    const known = await page.evaluate(async (url) => {
      await (await fetch('/own.json')).text();
      return fetch(url, { mode: 'no-cors', credentials: 'include' }).then(({ type }) => type, String);
    }, `${targets.gateway.origin}/api/v1/over-another`);
    const [own, other] = await eventually('both are told', () => {
      const found = [targets.public.host, targets.gateway.host].map((host) => told.findLast((one) => one.host === host));
      return found.every(Boolean) && found;
    });
    const logged = (await records(gateway)).filter(({ path }) => path.includes('over-another')).map(({ status }) => status);
    t.diagnostic(`it got ${known}; connections ${own.connectionId} (${own.protocol}) and ${other.connectionId} (${other.protocol}); the gateway answered ${logged}`);
    assert.equal(own.protocol, 'h2');
    assert.notEqual(other.connectionId, own.connectionId, 'another connection');
    assert.equal(other.status, 404, 'and there it is served: there is no such page');
    // A browser may try the one of the port first: there it is refused.
    assert.ok(logged.length > 0 && logged.at(-1) === 404 && logged.slice(0, -1).every((status) => status === 421), `${logged}`);
    await fresh.close();
  });
}
