// Back and forward out of the browser's memory: a page that comes back as it was, signed in or out meanwhile.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { atSignIn, browser, signIn } from './harness/browser.mjs';
import { eventually } from './harness/eventually.mjs';
import { App, visit, world } from './harness/matrix.mjs';

const WORD = 'the app itself';

/** The answer to a call of the page's own, as the page sees it. */
const asks = (page) => page.evaluate(async () => (await fetch('/data.json', { credentials: 'include' })).status);
const cameBack = (page) => page.evaluate(() => globalThis.cameBack === true);

test('back and forward by bfcache', async (t) => {
  const { gateway, accounts, codespace } = await world(t, { editor: false });
  // The one that plays the scenes keeps pages; Playwright's Chromium does not unless it is told to.
  const { person } = await browser(t, { keepsPages: true });
  const name = await codespace('ada');
  const [one, two] = [await App.start(gateway, accounts.ada.token, name, WORD), await App.start(gateway, accounts.ada.token, name, WORD)];
  const context = await person();
  await context.addInitScript(() => addEventListener('pageshow', ({ persisted }) => persisted && (globalThis.cameBack = true)));
  const page = await context.newPage();
  await signIn(page, gateway, accounts.ada);
  // What comes back so is no navigation that Playwright would wait for.
  const arrived = (app) =>
    eventually(`the page is at ${app.origin}`, () =>
      page.evaluate(([origin, word]) => location.origin === origin && document.querySelector('h1')?.textContent.includes(word), [app.origin, WORD]),
    );
  const step = (by) => page.evaluate((by) => void setTimeout(() => history.go(by)), by);
  await visit(page, `${one.origin}/`);
  await visit(page, `${two.origin}/`);

  await t.test('what comes back works, its calls included', async () => {
    await step(-1);
    await arrived(one);
    await eventually('it was kept: nothing of ours stands in the way', () => cameBack(page));
    assert.equal(await asks(page), 200);
    await step(1);
    await arrived(two);
    await eventually('it was kept', () => cameBack(page));
    assert.equal(await asks(page), 200);
  });

  await t.test('after sign-out it may show what it did, and gets nothing more', async () => {
    const elsewhere = await context.newPage();
    await elsewhere.goto(`${gateway.origin}/`);
    await elsewhere.evaluate(async () => (await fetch('/api/v1/sign-out', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' })).ok);
    await step(-1);
    const shown = await eventually('it shows what it did, or asks who is there', () =>
      page.evaluate(([origin, gateway]) => (location.origin === origin && document.querySelector('h1') ? 'app' : location.origin === gateway && document.querySelector('[data-testid=sign-in-name]') ? 'sign-in' : ''), [one.origin, gateway.origin]),
    );
    t.diagnostic(`after sign-out, back shows the ${shown}`);
    if (shown === 'app') {
      await eventually('only what was shown already', () => cameBack(page));
      assert.equal(await asks(page), 401);
      await page.evaluate(() => void setTimeout(() => location.reload()));
    }
    await atSignIn(page, accounts.ada);
    await arrived(one);
    assert.equal(await asks(page), 200);
  });

  await t.test('a page of the gateway does not come back to whoever signed out', async () => {
    await page.goto(`${gateway.origin}/settings`);
    await page.getByRole('heading').first().waitFor();
    await visit(page, `${two.origin}/`);
    const elsewhere = await context.newPage();
    await elsewhere.goto(`${gateway.origin}/`);
    await elsewhere.evaluate(async () => (await fetch('/api/v1/sign-out', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' })).ok);
    await step(-1);
    await page.getByTestId('sign-in-name').waitFor();
    assert.equal(await cameBack(page), false);
  });
});
