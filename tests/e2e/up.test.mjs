// The README's first command, as a person types it, to a usable editor in the browser.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { browser } from './harness/browser.mjs';
import { eventually } from './harness/eventually.mjs';
import { BINARY, attend, environment, freePort } from './harness/gateway.mjs';
import { keep } from './harness/hygiene.mjs';
import { repository } from './harness/repositories.mjs';
import * as vscode from './harness/vscode.mjs';

const README = readFileSync(path.resolve(import.meta.dirname, '../../README.md'), 'utf8');

test("the README's first command ends in a usable editor", async (t) => {
  const [, words] = README.match(/^ {4}cargo run --release -- (.*)$/m);
  const directory = repository(t, { 'notes.txt': 'first\n' });
  const data = mkdtempSync('/tmp/pt-');
  symlinkSync(process.env.PORTICO_EDITORS, path.join(data, 'editors'));
  const port = await freePort();
  const env = environment({ PORTICO_DATA: data, PORTICO_LISTEN: `127.0.0.1:${port}`, PORTICO_URL: `http://portico.localhost:${port}` });
  delete env.DISPLAY;
  delete env.WAYLAND_DISPLAY;
  const up = spawn(BINARY, words.split(' '), { cwd: directory, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = attend(t, up, data);
  let said = '';
  up.stdout.on('data', (chunk) => (said += chunk));
  up.stderr.on('data', (chunk) => (said += chunk));
  const link = await eventually('the link is printed', () => {
    if (up.exitCode !== null) throw Object.assign(new Error(`it ended with ${up.exitCode}:\n${said}`), { fatal: true });
    return said.match(/http:\/\/portico\.localhost:\d+\/setup#[^\s\x1b]+/)?.[0];
  });
  assert.match(said, new RegExp(`ssh -L ${port}:`), 'without a display it says how to make the link work from elsewhere');

  const { person, shot } = await browser(t);
  const page = await (await person()).newPage();
  await page.goto(link);
  const name = page.getByTestId('setup-name');
  await Promise.race([name.waitFor(), page.waitForURL((url) => url.host.includes('codespaces.localhost'))]);
  if (await name.isVisible()) {
    await name.fill('ada');
    await page.getByTestId('setup-password').fill(keep('password', 'correct horse battery'));
    await page.getByTestId('setup-submit').click();
  }
  await page.waitForURL((url) => url.host.endsWith(`.codespaces.localhost:${port}`));
  await vscode.workbench(page);
  await vscode.open(page, 'notes.txt');
  await shot(page, '30-up');

  // What was said to be under way is said to be done, too.
  await eventually('the history is fetched', () => !said.includes('… Full history') || said.includes('✓ Full history'));

  up.kill('SIGTERM');
  assert.equal(await exited, 0, said);
});

test("the README's second command is there and is what CI runs", () => {
  assert.match(README, /^ {4}tests\/run$/m);
  assert.match(readFileSync(path.resolve(import.meta.dirname, '../../.ci/run'), 'utf8'), /^exec tests\/run\b/m);
});
