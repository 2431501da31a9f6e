// Vite's hot reload through its port: an edit in the editor changes the page without a reload.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { Gateway, freePort } from './harness/gateway.mjs';
import { repository } from './harness/repositories.mjs';
import * as vscode from './harness/vscode.mjs';

const VITE = path.resolve(import.meta.dirname, 'node_modules/vite/bin/vite.js');
const MESSAGE = (word) => `export const message = '${word}';\n`;
const FILES = {
  'index.html': '<!doctype html><title>Vite</title><h1 id="message"></h1><script type="module" src="/main.js"></script>\n',
  'main.js': `import { message } from './message.js';
const show = (word) => (document.querySelector('#message').textContent = word);
show(message);
import.meta.hot.accept('./message.js', (fresh) => show(fresh.message));
`,
  'message.js': MESSAGE('before'),
  'package.json': '{"private": true, "type": "module"}\n',
};

test('Vite with hot reload', async (t) => {
  const gateway = await Gateway.start(t);
  const ada = await gateway.user('ada', { admin: true });
  const { name } = await gateway.codespace(ada.token, repository(t, FILES));
  const port = await freePort();
  await gateway.serveInside(ada.token, name, [process.execPath, VITE, '--port', `${port}`, '--strictPort'], port);
  const { person, shot } = await browser(t);
  const context = await person();
  const editor = await context.newPage();
  await signIn(editor, gateway, ada);
  await editor.goto(gateway.urlOf(name));
  await vscode.workbench(editor);

  const page = await context.newPage();
  const sockets = [];
  // Hot reload has to be there before an edit is.
  const listens = new Promise((done) => page.on('websocket', (socket) => (sockets.push(socket.url()), socket.on('framereceived', done))));
  await page.goto(gateway.urlOf(name, port));
  await page.getByText('before', { exact: true }).waitFor();
  await listens;
  await page.waitForLoadState('networkidle');
  await page.evaluate(() => (window.notReloaded = true));

  await vscode.open(editor, 'message.js');
  await vscode.replace(editor, MESSAGE('after an edit'));
  await page.getByText('after an edit', { exact: true }).waitFor();
  assert.equal(await page.evaluate(() => window.notReloaded), true, 'the page was not reloaded');
  assert.ok(sockets.some((url) => url.includes(gateway.hostOf(name, port))), `hot reload came over the port's own host: ${sockets}`);
  await shot(page, '20-vite');
});
