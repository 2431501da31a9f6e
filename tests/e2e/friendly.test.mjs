// The friendly matrix: whatever a page, a browser or a person does in good faith, everyone ends signed in at the clean
// address, without going round in circles and without a word of ours in the console. All of it over plain HTTP, and
// over TLS, where browsers speak HTTP/2 and keep cookies in another way.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { atSignIn, signIn } from './harness/browser.mjs';
import { eventually } from './harness/eventually.mjs';
import { freePort } from './harness/gateway.mjs';
import { App, records, visit, world } from './harness/matrix.mjs';

const APP = path.resolve(import.meta.dirname, 'fixtures/matrix.mjs');
const WORD = 'the app itself';
/** Navigations from asking to the clean address, all hosts and both tickets counted, a stale cookie or two on the way. */
const ROUND = 10;

/** Service workers as apps have them. Each answers navigations too. */
const WORKERS = {
  'no-op': `addEventListener('fetch', () => {});`,
  'pass-through': `addEventListener('fetch', (event) => event.respondWith(fetch(event.request)));`,
  'network-first': `addEventListener('fetch', (event) => event.respondWith(fetch(event.request).then((answer) => { const copy = answer.clone(); event.waitUntil(caches.open('x').then((cache) => cache.put(event.request, copy)).catch(() => {})); return answer; }, () => caches.match(event.request))));`,
  'cache-first': `addEventListener('fetch', (event) => event.respondWith(caches.match(event.request).then((kept) => kept ?? fetch(event.request).then((answer) => { const copy = answer.clone(); event.waitUntil(caches.open('x').then((cache) => cache.put(event.request, copy)).catch(() => {})); return answer; }))));`,
  'stale-while-revalidate': `addEventListener('fetch', (event) => event.respondWith(caches.match(event.request).then((kept) => { const fresh = fetch(event.request).then((answer) => { const copy = answer.clone(); event.waitUntil(caches.open('x').then((cache) => cache.put(event.request, copy)).catch(() => {})); return answer; }); return kept ?? fresh; })));`,
  'with navigation preload': `addEventListener('activate', (event) => event.waitUntil(registration.navigationPreload.enable())); addEventListener('fetch', (event) => event.respondWith(event.preloadResponse.then((early) => early ?? fetch(event.request))));`,
};
const AT_ONCE = `addEventListener('install', () => skipWaiting()); addEventListener('activate', (event) => event.waitUntil(clients.claim()));`;

/** Sessions as short as an operator can have them. */
const SHORT = '[sessions]\nidle = "5m"\nabsolute = "5m"\n';

for (const tls of [false, true]) test(`friendly pages${tls ? ' over https' : ''}`, async (t) => {
  const scene = await stage(t, { tls });
  const { gateway, accounts, url, person, ports } = scene;
  const { ada, bob } = accounts;

  const row = rows(t, scene);

  await row('a first visit', async (context, watch) => {
    const page = await context.newPage();
    await page.goto(url(0));
    await atSignIn(page, ada);
    await watch.arrived(page, url(0));
  });

  await row('an address with a query and a fragment', async (context, watch) => {
    const page = await signedIn(context, scene);
    const address = `${url(1)}a/b%20c?x=1&y=%2F%2F&next=https://evil.example/#part`;
    await page.goto(address, { waitUntil: 'commit' });
    await watch.arrived(page, address);
  });

  await row('eight tabs at once on unvisited ports', async (context, watch) => {
    await signedIn(context, scene);
    const tabs = await Promise.all(ports.map(() => context.newPage()));
    await Promise.all(tabs.map((tab, index) => tab.goto(url(index), { waitUntil: 'commit' })));
    await Promise.all(tabs.map((tab, index) => watch.arrived(tab, url(index))));
  });

  await row('eight tabs at once after sign-out', async (context, watch) => {
    const page = await signedIn(context, scene);
    const tabs = await Promise.all(ports.map(() => context.newPage()));
    await watch.visits(tabs[0], url(0));
    await signOut(page);
    await Promise.all(tabs.map((tab, index) => tab.goto(url(index), { waitUntil: 'commit' })));
    await Promise.all(tabs.map((tab) => tab.getByTestId('sign-in-name').waitFor()));
    await atSignIn(tabs[7], ada);
    await watch.arrived(tabs[7], url(7));
    await Promise.all(tabs.slice(0, 7).map((tab) => tab.reload()));
    await Promise.all(tabs.slice(0, 7).map((tab, index) => watch.arrived(tab, url(index))));
  });

  await row('a preview in a frame of another port, and of the editor', async (context, watch) => {
    const page = await signedIn(context, scene);
    for (const outer of [url(2), `${gateway.urlOf(scene.name)}healthz`]) {
      await visit(page, outer);
      const text = await page.evaluate(async (src) => {
        const frame = document.createElement('iframe');
        frame.src = src;
        frame.name = 'preview';
        document.body.append(frame);
        await new Promise((done) => (frame.onload = done));
      }, url(3));
      assert.equal(text, undefined);
      await page.frame('preview').getByRole('heading', { name: WORD }).waitFor();
    }
    await watch.clean(page);
  });

  await row('a page calls its sibling, with a preflight and with a socket', async (context, watch) => {
    const page = await signedIn(context, scene);
    // A visit waits for its siblings only so long: this one is signed in whatever the machine does meanwhile.
    await watch.visits(page, url(5));
    await watch.visits(page, url(4));
    const said = await page.evaluate(async (sibling) => {
      const plain = await (await fetch(`${sibling}data.json`, { credentials: 'include' })).json();
      const put = await (await fetch(`${sibling}data.json`, { method: 'PUT', credentials: 'include', headers: { 'content-type': 'application/json' }, body: '{}' })).json();
      const socket = await new Promise((done, fail) => Object.assign(new WebSocket(sibling.replace('http', 'ws')), { onmessage: ({ data }) => done(data), onerror: fail }));
      return [plain.word, put.word, socket];
    }, url(5));
    assert.deepEqual(said, [WORD, WORD, WORD]);
    await watch.arrived(page, url(4));
  });

  for (const [kind, source] of Object.entries(WORKERS)) {
    await row(`a page under a service worker: ${kind}`, async (context, watch) => {
      const page = await signedIn(context, scene);
      await watch.visits(page, url(0));
      await underWorker(page, source);
      await page.reload();
      await watch.arrived(page, url(0));
      await signOut(await home(context, scene));
      // What the worker has kept may show for a moment; its next look at its own script ends it.
      await page.goto(url(0), { waitUntil: 'commit' }).catch(() => {});
      await atSignIn(page, ada);
      await watch.arrived(page, url(0));
      await page.reload();
      await watch.arrived(page, url(0));
    });
  }

  await row('back, forward, reload', async (context, watch) => {
    const page = await signedIn(context, scene, '/settings');
    await watch.visits(page, url(6));
    await watch.visits(page, url(7));
    await page.goBack();
    await watch.arrived(page, url(6));
    await page.goBack();
    await page.waitForURL(`${gateway.origin}/settings`);
    await page.goForward();
    await watch.arrived(page, url(6));
    await page.reload();
    await watch.arrived(page, url(6));
    await page.goForward();
    await watch.arrived(page, url(7));
  });

  await row('back after sign-out', async (context, watch) => {
    const page = await signedIn(context, scene);
    await watch.visits(page, url(6));
    await watch.visits(page, url(7));
    await signOut(await home(context, scene));
    await page.goBack({ waitUntil: 'commit' });
    await atSignIn(page, ada);
    await watch.arrived(page, url(6));
  });

  for (const how of ['prefetch', 'prerender']) {
    await row(`${how}, visited or not, signed in or out`, async (context, watch) => {
      const page = await signedIn(context, scene);
      const speculate = async (urls) => {
        // A page that is in the background does not speculate.
        await page.bringToFront();
        await page.evaluate(
          ([how, urls]) => {
            const rules = document.createElement('script');
            rules.type = 'speculationrules';
            rules.textContent = JSON.stringify({ [how]: [{ source: 'list', urls, eagerness: 'immediate' }] });
            document.head.append(rules);
          },
          [how, urls],
        );
      };
      const [next, far, later, other] = [`${url(0)}next-${how}`, `${url(1)}far-${how}`, `${url(1)}later-${how}`, `${url(2)}other-${how}`];
      const guessed = (address) => eventually(`the app is asked for ${address} ahead`, () => scene.app.seen(new URL(address).pathname).some(({ headers }) => headers['sec-purpose']?.includes(how)));
      // Nobody has gone there: whoever asks is the browser, ahead.
      const refused = (address) =>
        eventually(`the gateway is asked for ${address} ahead`, async () => (await records(gateway)).some((record) => record.host === new URL(address).host && record.path === new URL(address).pathname && record.status === 303));
      const follow = (to) => page.evaluate((to) => (location.href = to), to).catch(() => {});
      await watch.visits(page, url(0));
      await speculate([next, far]);
      await Promise.all([next, far].map(guessed));
      await follow(next);
      await watch.arrived(page, next);
      await follow(far);
      await watch.arrived(page, far);
      await signOut(await home(context, scene));
      await speculate([later, other]);
      for (const address of [later, other]) await refused(address);
      assert.deepEqual([later, other].flatMap((address) => scene.app.seen(new URL(address).pathname)), [], 'the app was not asked');
      await follow(later);
      await atSignIn(page, ada);
      await watch.arrived(page, later);
      await follow(other);
      await watch.arrived(page, other);
    });
  }

  for (const [what, spoil] of Object.entries({
    'lost at the port': async (context) => context.clearCookies({ name: '__Host-portico_access', domain: new URL(url(0)).hostname }),
    'lost at the port and the editor': async (context) => context.clearCookies({ name: '__Host-portico_access' }),
    'changed at the port': async (context) => change(context, new URL(url(0)).hostname),
    'changed everywhere but at the gateway': async (context) => change(context),
    'of a session that was revoked': async (context, page) => signOut(await home(context, scene, page)),
    'of a session that was revoked, and the gateway never heard': async (context) => {
      const { id } = (await gateway.call(ada.token, 'GET', '/sessions')).toSorted((one, other) => one.created_at.localeCompare(other.created_at)).at(-1);
      await gateway.call(ada.token, 'DELETE', `/sessions/${id}`);
      assert.ok((await context.cookies(gateway.origin)).length > 0);
    },
  })) {
    await row(`a cookie ${what}`, async (context, watch) => {
      const page = await signedIn(context, scene);
      await watch.visits(page, url(0));
      await spoil(context);
      await page.goto(`${url(0)}again`, { waitUntil: 'commit' });
      if (what.includes('revoked')) await atSignIn(page, ada);
      await watch.arrived(page, `${url(0)}again`);
    });
  }

  await row('two accounts, one after the other', async (context, watch) => {
    const page = await signedIn(context, scene);
    await watch.visits(page, url(0));
    const who = async (tag) => {
      await page.goto(`${url(0)}${tag}`, { waitUntil: 'commit' });
      await watch.arrived(page, `${url(0)}${tag}`);
      return eventually('the log tells it', async () => {
        const accounts = (await records(gateway)).filter((record) => record.path === `/${tag}` && record.status === 200).map(({ account }) => account);
        return accounts.length > 0 && accounts;
      });
    };
    assert.deepEqual([...new Set(await who('as-ada'))], ['ada']);
    await signOut(await home(context, scene));
    await signIn(page, gateway, bob);
    assert.deepEqual([...new Set(await who('as-bob'))], ['bob']);
    // Switching without signing out: the other takes over.
    await page.goto(`${gateway.origin}/sign-in?switch=1`);
    await atSignIn(page, ada);
    await page.waitForURL(`${gateway.origin}/`);
    assert.deepEqual([...new Set(await who('as-ada-again'))], ['ada']);
  });

  await row('sign-out in one tab while others are open', async (context, watch) => {
    const page = await signedIn(context, scene);
    const open = await context.newPage();
    await watch.visits(open, url(0));
    await open.evaluate(() => {
      const socket = new WebSocket(location.href.replace('http', 'ws'));
      globalThis.cut = new Promise((done) => (socket.onclose = ({ code }) => done(code)));
      return new Promise((done, fail) => Object.assign(socket, { onmessage: done, onerror: fail }));
    });
    await signOut(page);
    assert.ok(await open.evaluate(() => globalThis.cut), 'the socket is closed');
    assert.equal(await open.evaluate(async () => (await fetch('/data.json')).status), 401);
    await open.reload();
    await atSignIn(open, ada);
    await watch.arrived(open, url(0));
  });

  await t.test('a browser without JavaScript', async () => {
    const before = await person();
    await signIn(await before.newPage(), gateway, ada);
    const context = await person({ javaScriptEnabled: false, storageState: await before.storageState() });
    const page = await context.newPage();
    await page.goto(url(0));
    let buttons = 0;
    while (page.url() !== url(0) && buttons < 5) {
      await page.locator('button[data-testid=hop-continue]').click();
      await page.waitForLoadState();
      buttons += 1;
    }
    assert.equal(page.url(), url(0));
    assert.match(await page.locator('h1').textContent(), new RegExp(WORD));
    t.diagnostic(`without JavaScript: ${buttons} buttons`);
    assert.ok(buttons <= 3, `${buttons} buttons`);
    await before.close();
    await context.close();
  });

  await row('a Vite PWA', async (context, watch) => {
    const address = await pwa(t, scene);
    const page = await signedIn(context, scene);
    await visit(page, address);
    await page.evaluate(async () => {
      await navigator.serviceWorker.ready;
      if (!navigator.serviceWorker.controller) await new Promise((done) => navigator.serviceWorker.addEventListener('controllerchange', done, { once: true }));
    });
    await page.reload();
    await page.getByText('a progressive app').waitFor();
    await watch.clean(page);
    await signOut(await home(context, scene));
    await page.goto(address, { waitUntil: 'commit' });
    await atSignIn(page, ada);
    await page.waitForURL(address);
    await page.getByText('a progressive app').waitFor();
    await watch.clean(page);
  });
});

for (const tls of [false, true]) test(`sessions that have expired${tls ? ', over https' : ''}`, async (t) => {
  const scene = await stage(t, { tls, editor: false, config: SHORT });
  const { gateway, accounts, name, ports, url } = scene;
  const row = rows(t, scene);

  await row('a cookie that ran out in the browser, at the port and the editor', async (context, watch) => {
    const page = await signedIn(context, scene);
    await watch.visits(page, url(0));
    await runOut(context, '__Host-portico_access');
    await page.goto(`${url(0)}again`, { waitUntil: 'commit' });
    await watch.arrived(page, `${url(0)}again`);
  });

  await row('a cookie that ran out in the browser, everywhere', async (context, watch) => {
    const page = await signedIn(context, scene);
    await watch.visits(page, url(0));
    await runOut(context, '__Host-portico_');
    await page.goto(`${url(0)}again`, { waitUntil: 'commit' });
    await atSignIn(page, accounts.ada);
    await watch.arrived(page, `${url(0)}again`);
  });

  await row('a session that is over at the gateway, and cookies that the browser still has', async (context, watch) => {
    const page = await signedIn(context, scene);
    await watch.visits(page, url(0));
    const tabs = await Promise.all([0, 1, 2, 3].map(() => context.newPage()));
    await gateway.kill9();
    await gateway.serve({ ahead: '+6m' });
    await gateway.listed(accounts.ada.token, name, ports[0]);
    const held = (await context.cookies()).map((cookie) => cookie.name);
    assert.ok(held.includes('__Host-portico_session') && held.includes('__Host-portico_access'), `the browser has ${held}`);
    assert.equal(await page.evaluate(async () => (await fetch('/data.json')).status), 401);
    await Promise.all(tabs.map((tab, index) => tab.goto(`${url(index)}again`, { waitUntil: 'commit' })));
    await Promise.all(tabs.map((tab) => tab.getByTestId('sign-in-name').waitFor()));
    await atSignIn(tabs[0], accounts.ada);
    await watch.arrived(tabs[0], `${url(0)}again`);
    for (const [index, tab] of tabs.entries()) {
      await watch.visits(tab, `${url(index)}later`);
    }
    await page.reload();
    await watch.arrived(page, url(0));
  });
});

/** Lines of the table: for each a person of its own, and what must hold for all of her pages at the end. */
function rows(t, { gateway, person }) {
  return (what, run) =>
    t.test(what, async () => {
      const context = await person();
      const watch = watched(context, gateway);
      await run(context, watch);
      watch.isQuiet();
      await context.close();
    });
}

/** A codespace with an app on eight ports, its owner ada, and bob, who may see them. */
async function stage(t, { tls = false, editor = true, config } = {}) {
  const { gateway, accounts, codespace, person } = await world(t, { people: ['ada', 'bob'], tls, editor, config });
  const name = await codespace('ada');
  const ports = [];
  while (ports.length < 8) ports.push(await freePort());
  const app = new App(gateway, name, ports[0], WORD);
  await gateway.serveInside(accounts.ada.token, name, [process.execPath, APP, ports.join(), app.file, WORD], ports[0]);
  await Promise.all(ports.map((port) => gateway.listed(accounts.ada.token, name, port)));
  for (const port of ports) await gateway.call(accounts.ada.token, 'PATCH', `/codespaces/${name}/ports/${port}`, { visibility: 'org' });
  return { gateway, accounts, name, ports, person, app, url: (index) => gateway.urlOf(name, ports[index]) };
}

/** What all pages of a person do: navigations, history, and the console where it is ours. */
function watched(context, gateway) {
  const words = [];
  const trips = new Map();
  const ours = (url) => url.includes('/.portico/') || url.startsWith(gateway.origin);
  context.on('page', (page) => {
    trips.set(page, []);
    page.on('request', (request) => request.isNavigationRequest() && request.frame() === page.mainFrame() && trips.get(page).push(request.url()));
    page.on('pageerror', (error) => ours(error.stack ?? '') && words.push(`${page.url()}: ${error.stack}`));
    // Chromium itself tells of each answer of 400 and more; what our pages say of their own is another matter.
    page.on('console', (message) => {
      const of = message.location().url;
      if (message.type() === 'error' && (ours(of) || /Content Security Policy/.test(message.text())) && !/status of 401/.test(message.text())) words.push(`${of}: ${message.text()}`);
    });
  });
  const clean = async (page) => {
    const devtools = await context.newCDPSession(page);
    const { entries } = await devtools.send('Page.getNavigationHistory');
    for (const { url } of entries) assert.doesNotMatch(url, /\/\.portico\/|\/authorize|[?&](state|ticket)=/, 'the way there is not in the history');
    await devtools.detach();
  };
  const arrived = async (page, url) => {
    await page.waitForURL(url);
    await page.getByRole('heading', { name: WORD }).waitFor();
    assert.equal(page.url(), url);
    assert.ok(trips.get(page).length <= ROUND, `it went round:\n${trips.get(page).join('\n')}`);
    trips.set(page, []);
    await clean(page);
  };
  return {
    clean,
    /** The page is at its address, with what the app says, and did not go round. */
    arrived,
    visits: async (page, url) => {
      trips.set(page, []);
      await page.goto(url, { waitUntil: 'commit' });
      await arrived(page, url);
    },
    isQuiet: () => assert.deepEqual(words, [], 'our pages say nothing in the console'),
  };
}

async function signedIn(context, { gateway, accounts }, next) {
  const page = await context.newPage();
  await signIn(page, gateway, accounts.ada, next);
  return page;
}

/** A tab at the gateway. */
async function home(context, { gateway }) {
  const page = await context.newPage();
  await page.goto(`${gateway.origin}/`);
  return page;
}

async function signOut(page) {
  await page.getByTestId('sign-out').click();
  await page.getByTestId('sign-in-name').waitFor();
}

/** Puts a page under a service worker that controls all of its host. */
async function underWorker(page, source) {
  await page.evaluate(
    async (body) => {
      await navigator.serviceWorker.register(`/answer?${new URLSearchParams({ type: 'text/javascript', body })}`, { scope: '/' });
      await navigator.serviceWorker.ready;
      if (!navigator.serviceWorker.controller) await new Promise((done) => navigator.serviceWorker.addEventListener('controllerchange', done, { once: true }));
    },
    AT_ONCE + source,
  );
}

/** Has cookies end by their own date in a moment, and waits until the browser has them no more. */
async function runOut(context, name) {
  const held = async () => (await context.cookies()).filter((cookie) => cookie.name.startsWith(name));
  const cookies = await held();
  assert.ok(cookies.length > 0);
  await context.addCookies(cookies.map((cookie) => ({ ...cookie, expires: Math.floor(Date.now() / 1000) + 2 })));
  await eventually('they ran out', async () => (await held()).length === 0);
}

/** Changes what is in the cookies of a host, or of all codespace hosts. */
async function change(context, domain) {
  const cookies = (await context.cookies()).filter(({ name, domain: of }) => name === '__Host-portico_access' && (!domain || of === domain));
  assert.ok(cookies.length > 0);
  await context.addCookies(cookies.map((cookie) => ({ ...cookie, value: `${cookie.value.slice(0, -4)}AAAA` })));
}

/** An app made by Vite with its PWA plugin, as its guide says, served in the codespace; returns its address. */
async function pwa(t, { gateway, accounts, name }) {
  const root = mkdtempSync('/tmp/pw-');
  t.after(() => rmSync(root, { recursive: true, force: true }));
  symlinkSync(path.resolve(import.meta.dirname, 'node_modules'), path.join(root, 'node_modules'));
  writeFileSync(path.join(root, 'package.json'), '{"private": true, "type": "module"}\n');
  writeFileSync(path.join(root, 'index.html'), '<!doctype html><html><head><title>PWA</title><link rel="icon" href="data:,"></head><body><p id="app"></p><script type="module" src="/main.js"></script></body></html>\n');
  writeFileSync(path.join(root, 'main.js'), "import { registerSW } from 'virtual:pwa-register';\nregisterSW({ immediate: true });\ndocument.querySelector('#app').textContent = 'a progressive app';\n");
  writeFileSync(
    path.join(root, 'vite.config.js'),
    "import { VitePWA } from 'vite-plugin-pwa';\nexport default { plugins: [VitePWA({ registerType: 'autoUpdate', workbox: { clientsClaim: true, skipWaiting: true } })] };\n",
  );
  const vite = path.join(root, 'node_modules/vite/bin/vite.js');
  execFileSync(process.execPath, [vite, 'build'], { cwd: root, stdio: 'pipe' });
  const port = await freePort();
  await gateway.serveInside(accounts.ada.token, name, [process.execPath, vite, 'preview', root, '--port', `${port}`, '--strictPort'], port);
  return gateway.urlOf(name, port);
}
