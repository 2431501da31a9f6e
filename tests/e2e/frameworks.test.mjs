// Apps of real frameworks behind the gateway, none of which was told of it: pages, hot reload, forms with their CSRF check.
// And where they refuse because a port is set to pass on the browser's host, the doctor says what to do.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { becomes, eventually } from './harness/eventually.mjs';
import { APPS, edit, filesOf, run } from './harness/frameworks.mjs';
import { Gateway, freePort } from './harness/gateway.mjs';
import { request } from './harness/http.mjs';
import { repository } from './harness/repositories.mjs';

test('frameworks in the localhost world', async (t) => {
  const gateway = await Gateway.start(t, { editor: false });
  const ada = await gateway.user('ada', { admin: true });
  const { person, shot } = await browser(t);
  const context = await person();
  const page = await context.newPage();
  await signIn(page, gateway, ada);
  for (const [kind, app] of Object.entries(APPS)) {
    await t.test(kind, async (t) => {
      const { name } = await gateway.codespace(ada.token, repository(t, filesOf(app, 'before')), { editor: false });
      const port = await freePort();
      await run(gateway, ada.token, name, app, port);
      const word = (text) => page.locator('#word', { hasText: new RegExp(`^${text}$`) }).waitFor({ timeout: 180_000 });
      // What tells the page of edits has to be there before one.
      const listens = new Promise((done) => page.on('websocket', (socket) => socket.on('framereceived', done)));
      await page.goto(gateway.urlOf(name, port));
      await word('before');
      if (app.reloads) {
        await edit(gateway, ada.token, name, app, 'after an edit');
        await eventually('the app has started anew', async () => {
          await page.goto(gateway.urlOf(name, port));
          return (await page.locator('#word').textContent()) === 'after an edit';
        });
        await page.locator('#said').fill('the-form');
        await page.locator('#send').click();
        await word('thanks for the-form');
        // The app's own redirect named localhost, and the browser never saw that.
        assert.equal(page.url(), `${gateway.urlOf(name, port)}thanks?the-form`);
      } else {
        // A page is there before its socket is: an edit that comes first reloads it, whoever serves it.
        await listens;
        await page.waitForLoadState('networkidle');
        await page.evaluate(() => (window.notReloaded = true));
        await edit(gateway, ada.token, name, app, 'after an edit');
        await word('after an edit');
        assert.equal(await page.evaluate(() => window.notReloaded), true, 'the page was not reloaded');
      }
      const [listed] = (await gateway.call(ada.token, 'GET', `/codespaces/${name}/ports`)).filter((row) => row.port === port);
      assert.equal(listed.advice, undefined, 'the app refused nothing');
      await shot(page, `21-${kind}`);
    });
  }
});

test('frameworks that refuse the host', async (t) => {
  // Under `.localhost` most of them let any host in.
  const gateway = await Gateway.start(t, { editor: false, url: 'https://portico.test', domain: 'apps.test' });
  const ada = await gateway.user('ada', { admin: true });
  for (const [kind, app] of Object.entries(APPS).filter(([, app]) => app.refusal)) {
    await t.test(kind, async (t) => {
      const { name } = await gateway.codespace(ada.token, repository(t, filesOf(app, 'word')), { editor: false });
      const port = await freePort();
      await run(gateway, ada.token, name, app, port);
      const origin = `https://${gateway.hostOf(name, port)}`;
      const ask = (more = {}) => request(gateway.port, { host: gateway.hostOf(name, port), path: app.refusedPath, headers: { 'x-portico-token': ada.token, accept: 'text/html', origin, 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'no-cors', ...more } });
      const set = (what) => gateway.call(ada.token, 'PATCH', `/codespaces/${name}/ports/${port}`, what);
      const advice = async () => (await gateway.call(ada.token, 'GET', `/codespaces/${name}/ports`)).find((row) => row.port === port).advice;
      const refused = (answer) => answer.status >= 400 && answer.status !== 404;

      await set({ host_header: 'preserve' });
      assert.ok(refused(await eventually('it refuses', async () => ask().then((answer) => refused(answer) && answer))));
      const noted = await eventually('it is noted', advice);
      assert.equal(noted.type, app.refusal);
      assert.deepEqual(noted.set, { host_header: 'localhost' });
      const told = await gateway.command(['explain', noted.trace_id, '--data', gateway.data]);
      assert.match(told.stdout, /host_header to localhost/);

      await set(noted.set);
      const mended = await ask();
      assert.ok(!refused(mended), `${mended.status} ${mended.text.slice(0, 500)}`);
      await becomes(advice, undefined);
    });
  }
});
