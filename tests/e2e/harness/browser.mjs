// Chromium for a test: the real one, without a sandbox and without calls of its own.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { ARTEFACTS } from './gateway.mjs';

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
    env: { ...process.env, ...(home ? { HOME: home } : {}) },
    ...(keepsPages ? { ignoreDefaultArgs: ['--disable-back-forward-cache'] } : {}),
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  t.after(async () => {
    await program.close();
    if (home) rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  });
  const person = async (options = {}) => {
    const context = await program.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    context.setDefaultTimeout(30_000);
    await context.grantPermissions(['clipboard-read', 'clipboard-write']).catch(() => {});
    return context;
  };
  const shot = async (page, name) => {
    mkdirSync(ARTEFACTS, { recursive: true });
    await page.screenshot({ path: path.join(ARTEFACTS, `${name}.png`) });
  };
  return { person, shot };
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
export async function signIn(page, gateway, { name, password }, next = '/') {
  await page.goto(`${gateway.origin}/sign-in?next=${encodeURIComponent(next)}`);
  await page.getByTestId('sign-in-name').fill(name);
  await page.getByTestId('sign-in-password').fill(password);
  await page.getByTestId('sign-in-submit').click();
  await page.waitForURL((url) => url.pathname === next);
}
