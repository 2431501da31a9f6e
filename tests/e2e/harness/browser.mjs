// Chromium for a test: the real one, without a sandbox and without calls of its own.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { eventually } from './eventually.mjs';
import { ARTEFACTS } from './gateway.mjs';
import * as hygiene from './hygiene.mjs';

const PROGRAM = process.env.CHROMIUM ?? '/usr/bin/chromium';

/**
 * Starts Chromium; `person(name)` opens a browser profile of its own, `shot(page, name)` keeps a screenshot. `authority`
 * is the file of a certificate authority that it trusts; with `keepsPages` it goes back to pages as they were.
 */
export async function browser(t, { authority, keepsPages = false } = {}) {
  if (!existsSync(PROGRAM)) throw new Error('Chromium is not here: apt-get install chromium, or set CHROMIUM to its program');
  const home = authority && trusting(authority);
  const program = await chromium.launch({
    executablePath: PROGRAM,
    timeout: 180_000,
    env: { ...process.env, ...(home ? { HOME: home } : {}) },
    ...(keepsPages ? { ignoreDefaultArgs: ['--disable-back-forward-cache'] } : {}),
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  hygiene.orderly(t);
  t.after(async () => {
    for (const context of program.contexts()) await hygiene.keepCookies(context);
    await program.close();
    if (home) rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  });
  const person = async (options = {}) => {
    const context = await program.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    context.setDefaultTimeout(90_000);
    context.on('page', steady);
    hygiene.watch(context);
    await context.grantPermissions(['clipboard-read', 'clipboard-write']).catch(() => {});
    return context;
  };
  const shot = async (page, name) => {
    mkdirSync(ARTEFACTS, { recursive: true });
    await page.screenshot({ path: path.join(ARTEFACTS, `${name}.png`) });
  };
  return { person, shot };
}

/** A navigation that was broken off: by another one of the page's own, or since the machine's interfaces changed. */
const BROKEN_OFF = /net::ERR_ABORTED|net::ERR_NETWORK_CHANGED|interrupted by another navigation/;

/**
 * Makes a page's navigations independent of what the page does by itself at that very moment: where somebody was signed
 * out, our pages go to the sign-in page, and so break off a navigation that was just begun, or one that is waited for.
 */
function steady(page) {
  let lost = false;
  page.on('requestfailed', (request) => {
    if (/ERR_NETWORK_CHANGED/.test(request.failure()?.errorText) && ['script', 'stylesheet'].includes(request.resourceType())) lost = true;
  });
  for (const name of ['goto', 'reload']) {
    const go = page[name].bind(page);
    page[name] = (...asked) =>
      eventually(`${name} ${asked[0] ?? ''}`, async () => {
        try {
          lost = false;
          const answer = await go(...asked);
          if (lost) throw new Error('net::ERR_NETWORK_CHANGED: a part of the page did not come');
          return { answer };
        } catch (error) {
          throw BROKEN_OFF.test(error.message) ? error : Object.assign(error, { fatal: true });
        }
      }).then(({ answer }) => answer);
  }
  page.waitForURL = async (wanted, { timeout = 90_000 } = {}) => {
    const is = typeof wanted === 'function' ? wanted : (url) => url.href === wanted;
    await eventually(`the page is at ${wanted}`, () => is(new URL(page.url())) || Promise.reject(new Error(`it is at ${page.url()}`)), { seconds: timeout / 1000 });
    await page.waitForLoadState();
  };
}

/** A home directory whose certificate store trusts an authority. */
function trusting(authority) {
  const home = mkdtempSync('/tmp/ph-');
  const store = path.join(home, '.pki/nssdb');
  mkdirSync(store, { recursive: true });
  execFileSync('certutil', ['-d', `sql:${store}`, '-N', '--empty-password']);
  execFileSync('certutil', ['-d', `sql:${store}`, '-A', '-t', 'C,,', '-n', 'the gateway under test', '-i', authority]);
  return home;
}

/** Signs a person in on the sign-in page. */
export async function signIn(page, gateway, account, next = '/') {
  await page.goto(`${gateway.origin}/sign-in?next=${encodeURIComponent(next)}`);
  await atSignIn(page, account);
  await page.waitForURL((url) => url.pathname === next);
}

/** Waits for the sign-in page, wherever the page was, and signs in there. */
export async function atSignIn(page, { name, password }) {
  const field = page.getByTestId('sign-in-name');
  await field.waitFor();
  // The form is there before its script is.
  await page.waitForLoadState();
  await eventually('the form is answered', async () => {
    if (!(await field.isVisible())) return true;
    await field.fill(name);
    await page.getByTestId('sign-in-password').fill(password);
    // None comes where the machine's interfaces changed at that moment: then the page says so, and the button is pressed again.
    const answered = page.waitForResponse((answer) => answer.url().endsWith('/api/v1/sign-in'), { timeout: 30_000 });
    await Promise.all([answered, page.getByTestId('sign-in-submit').click()]);
    return true;
  });
}
