// The doctor's pages in Chromium: what is wrong with a port, one button that mends it, and a page that goes on by itself.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { eventually } from './harness/eventually.mjs';
import { Gateway, freePort } from './harness/gateway.mjs';
import { repository } from './harness/repositories.mjs';

const APP = path.resolve(import.meta.dirname, 'fixtures/app.mjs');
const MAKE_CERTIFICATE = 'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout key.pem -out cert.pem -subj /CN=localhost 2>/dev/null';
const SERVE_TLS = `require('https').createServer({ key: require('fs').readFileSync('key.pem'), cert: require('fs').readFileSync('cert.pem') }, (request, response) => response.end('over TLS: ' + request.url)).listen(Number(process.argv[1]), '127.0.0.1')`;
const SERVE_PICKY = `require('http').createServer((request, response) => (/^localhost:/.test(request.headers.host) ? response.end('at home as ' + request.headers.host) : response.writeHead(403, { 'content-type': 'text/plain' }).end('Blocked request. This host ("' + request.headers.host + '") is not allowed.'))).listen(Number(process.argv[1]), '127.0.0.1')`;
const SERVE_MODULE = `require('http').createServer((request, response) => response.writeHead(200, { 'content-type': 'text/javascript', 'access-control-allow-origin': request.headers.origin ?? '*', 'access-control-allow-credentials': 'true' }).end('document.title = "loaded"')).listen(Number(process.argv[1]), '127.0.0.1')`;

test('a port that does not answer', async (t) => {
  const gateway = await Gateway.start(t, { editor: false });
  const ada = await gateway.user('ada', { admin: true });
  const { name } = await gateway.codespace(ada.token, repository(t), { editor: false });
  const { person, shot } = await browser(t);
  const context = await person();
  const page = await context.newPage();
  await signIn(page, gateway, ada);
  await gateway.exec(ada.token, name, ['sh', '-c', MAKE_CERTIFICATE]);
  const node = (script, port) => gateway.serveInside(ada.token, name, [process.execPath, '-e', script, `${port}`], port);

  await t.test('an app that speaks TLS is one button away', async () => {
    const port = await freePort();
    await node(SERVE_TLS, port);
    await page.goto(`${gateway.urlOf(name, port)}a?b=c`);
    await page.getByRole('heading', { name: `Port ${port} speaks HTTPS` }).waitFor();
    const number = await page.locator('footer code').textContent();
    await shot(page, '22-doctor-tls');
    await page.getByRole('link', { name: 'Set protocol to https' }).click();
    await page.getByTestId('mend').waitFor();
    assert.equal(new URL(page.url()).origin, gateway.origin, "settings change on the gateway's own page alone");
    await shot(page, '22-doctor-mend');
    await page.getByTestId('mend').click();
    await page.getByText('over TLS: /a?b=c').waitFor();
    assert.equal(page.url(), `${gateway.urlOf(name, port)}a?b=c`);
    const told = await gateway.command(['explain', number], { token: ada.token });
    assert.match(told.stdout, /The app expects TLS/);
  });

  await t.test('where nothing listens, the page goes on when something does', async () => {
    const port = await freePort();
    const phone = await (await person({ viewport: { width: 360, height: 740 }, colorScheme: 'dark', storageState: await context.storageState() })).newPage();
    for (const tab of [page, phone]) {
      await tab.goto(gateway.urlOf(name, port));
      await tab.getByRole('heading', { name: `Nothing listens on port ${port}` }).waitFor();
    }
    await shot(page, '22-doctor-nothing');
    await shot(phone, '22-doctor-nothing-phone');
    assert.ok(await phone.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'it fits a phone');
    await gateway.serveInside(ada.token, name, [process.execPath, APP, `${port}`], port);
    await page.getByText('Hello from the codespace').waitFor();
  });

  await t.test('what an app refuses is mended on the port\'s row', async () => {
    const port = await freePort();
    await node(SERVE_PICKY, port);
    await gateway.call(ada.token, 'PATCH', `/codespaces/${name}/ports/${port}`, { host_header: 'preserve' });
    await page.goto(gateway.urlOf(name, port));
    await page.getByText('Blocked request').waitFor();
    // The row says what was known when its page was loaded.
    await eventually('the refusal is noted', async () => (await gateway.call(ada.token, 'GET', `/codespaces/${name}/ports`)).find((row) => row.port === port)?.advice);
    await page.goto(`${gateway.origin}/codespaces/${name}`);
    const row = page.locator(`[data-testid=port-row][data-port="${port}"]`);
    await row.getByText('Vite refuses').waitFor();
    await shot(page, '22-doctor-advice');
    await row.getByTestId('port-mend').click();
    await row.getByTestId('port-advice').waitFor({ state: 'detached' });
    await page.goto(gateway.urlOf(name, port));
    await page.getByText(`at home as localhost:${port}`).waitFor();
  });

  await t.test('a stranger learns nothing', async () => {
    const port = await freePort();
    await gateway.call(ada.token, 'PATCH', `/codespaces/${name}/ports/${port}`, { visibility: 'public' });
    const stranger = await (await person({ extraHTTPHeaders: { 'x-portico-skip-warning': '1' } })).newPage();
    await stranger.goto(gateway.urlOf(name, port));
    await stranger.getByRole('heading', { name: 'This app does not answer right now' }).waitFor();
    assert.ok(!(await stranger.content()).includes('node'), 'no process is named');
    await shot(stranger, '22-doctor-stranger');
  });

  await t.test('a module script across ports needs its credentials', async () => {
    const [front, api] = [await freePort(), await freePort()];
    await gateway.serveInside(ada.token, name, [process.execPath, APP, `${front}`], front);
    await node(SERVE_MODULE, api);
    // So that the browser is signed in to both: a visit of one waits for the other only so long.
    await page.goto(gateway.urlOf(name, api));
    await page.getByText('document.title').waitFor();
    await page.goto(gateway.urlOf(name, front));
    await page.getByText('Hello from the codespace').waitFor();
    const load = (crossorigin) => page.evaluate(
      ([src, crossorigin]) =>
        new Promise((done) => {
          const script = Object.assign(document.createElement('script'), { type: 'module', src });
          if (crossorigin) script.crossOrigin = crossorigin;
          script.onload = () => done('loaded');
          script.onerror = () => done('refused');
          document.head.append(script);
        }),
      [`${gateway.urlOf(name, api)}${crossorigin}.js`, crossorigin],
    );
    assert.equal(await load('use-credentials'), 'loaded');
    assert.equal(await load(''), 'refused');
    const notes = (await gateway.call(ada.token, 'GET', `/explain?url=${encodeURIComponent(gateway.urlOf(name, api))}`)).recent;
    assert.match(notes[0].what, /no cookie/);
  });
});
