// Chromium for a test: the real one, without a sandbox and without calls of its own.
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { ARTEFACTS } from './gateway.mjs';

const PROGRAM = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** Starts Chromium; `person(name)` opens a browser profile of its own, `shot(page, name)` keeps a screenshot. */
export async function browser(t) {
  if (!existsSync(PROGRAM)) throw new Error('Chromium is not here: apt-get install chromium, or set CHROMIUM to its program');
  const program = await chromium.launch({
    executablePath: PROGRAM,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  t.after(() => program.close());
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

/** Signs a person in on the sign-in page. */
export async function signIn(page, gateway, { name, password }, next = '/') {
  await page.goto(`${gateway.origin}/sign-in?next=${encodeURIComponent(next)}`);
  await page.getByTestId('sign-in-name').fill(name);
  await page.getByTestId('sign-in-password').fill(password);
  await page.getByTestId('sign-in-submit').click();
  await page.waitForURL((url) => url.pathname === next);
}
