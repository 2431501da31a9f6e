// The main job, in a real browser through the real binary with a real VS Code.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser } from './harness/browser.mjs';
import { eventually } from './harness/eventually.mjs';
import { Gateway, freePort } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';
import * as vscode from './harness/vscode.mjs';

const SERVER = `import http from 'node:http';
const port = Number(process.argv[2]);
const page = '<!doctype html><title>My app</title><h1>It works</h1>';
http.createServer((request, response) => response.setHeader('content-type', 'text/html').end(page)).listen(port, '127.0.0.1', () => console.log('http://localhost:' + port + '/'));
`;

test('a repository opens in a real editor, and its app at a URL of its own', async (t) => {
  const gateway = await Gateway.start(t);
  const git = await serveRepositories(t, { project: repository(t, { 'server.mjs': SERVER, 'notes.txt': 'first\n' }) });
  const port = await freePort();
  const { person, shot } = await browser(t);
  const ada = await person();
  const page = await ada.newPage();
  const problems = [];
  page.on('console', (message) => message.type() === 'error' && /Content Security Policy/.test(message.text()) && problems.push(message.text()));
  let name;
  let token;
  let editor;

  await t.test('the first link makes the first admin', async () => {
    await page.goto(await gateway.setupLink());
    await page.getByTestId('setup-name').fill('ada');
    await page.getByTestId('setup-password').fill('correct horse battery');
    await shot(page, '01-setup');
    await page.getByTestId('setup-submit').click();
    await page.waitForURL((url) => url.pathname === '/');
    await shot(page, '02-empty-dashboard');
    token = (await gateway.command(['token', 'create', '--user', 'ada', '--scope', 'all', '--data', gateway.data])).stdout.trim();
  });

  await t.test('a codespace is created from a git repository', async () => {
    await page.goto(`${gateway.origin}/new?repository=${encodeURIComponent(`${git}/project`)}`);
    await shot(page, '03-new');
    assert.deepEqual(await gateway.call(token, 'GET', '/codespaces'), [], 'a link alone makes nothing');
    await page.getByTestId('create').click();
    await page.waitForURL((url) => url.pathname.startsWith('/codespaces/'));
    name = new URL(page.url()).pathname.split('/')[2];
    await shot(page, '04-creating');
    await gateway.ready(token, name);
    await shot(page, '05-codespace');
  });

  await t.test('the real editor opens, edits and saves', async () => {
    const opened = ada.waitForEvent('page');
    await page.getByTestId('open-editor').click();
    editor = await opened;
    await vscode.workbench(editor);
    assert.equal(new URL(editor.url()).host, gateway.hostOf(name));
    await vscode.open(editor, 'notes.txt');
    await vscode.replace(editor, 'edited in the browser\n');
    await shot(editor, '06-editor');
    await eventually('the file is saved', async () => (await gateway.exec(token, name, ['cat', 'notes.txt'])).stdout === 'edited in the browser\n');
    const { stdout } = await gateway.exec(token, name, ['git', 'status', '--porcelain']);
    assert.equal(stdout, ' M notes.txt\n');
  });

  await t.test("a server started in VS Code's terminal shows up in the ports", async () => {
    const type = await vscode.terminal(editor);
    const ready = async () => (await gateway.exec(token, name, ['cat', '.terminal-ready'], { status: null })).stdout === 'ready-42\n';
    // What is typed before the shell is there may be lost.
    await eventually('the terminal obeys', async () => {
      await type('echo ready-$((40+2)) > .terminal-ready');
      return eventually('it did', ready, { seconds: 10 });
    });
    await type(`'${process.execPath}' server.mjs ${port}`);
    await gateway.listed(token, name, port);
    await shot(editor, '07-terminal');
    await page.bringToFront();
    await row(page, port).waitFor();
    await shot(page, '08-ports');
  });

  await t.test('its page opens on its own host', async () => {
    const app = await ada.newPage();
    await app.goto(gateway.urlOf(name, port));
    await app.getByRole('heading', { name: 'It works' }).waitFor();
    assert.equal(app.url(), gateway.urlOf(name, port));
    await shot(app, '09-port');
    await app.close();
  });

  await t.test('an anonymous browser is denied, until the port is public', async () => {
    const stranger = await person();
    const visit = await stranger.newPage();
    await visit.goto(gateway.urlOf(name, port));
    await visit.getByTestId('sign-in-name').waitFor();
    assert.equal(new URL(visit.url()).host, gateway.host, 'it is sent to sign in');
    await shot(visit, '10-denied');

    await page.bringToFront();
    await row(page, port).getByTestId('port-visibility').selectOption('public');
    await shot(page, '11-confirm-public');
    await page.getByTestId('confirm-public').click();
    await eventually('the port is public', async () => (await gateway.listed(token, name, port)).visibility === 'public');
    await shot(page, '12-public');
    await visit.goto(gateway.urlOf(name, port));
    await shot(visit, '12a-warning');
    await visit.getByTestId('warning-continue').click();
    await visit.getByRole('heading', { name: 'It works' }).waitFor();
    await shot(visit, '13-loaded');

    await gateway.command(['ports', 'visibility', `${port}:private`, '-c', name], { token });
    await visit.goto(gateway.urlOf(name, port));
    await visit.getByTestId('sign-in-name').waitFor();
    await stranger.close();
  });

  await t.test('the pages fit a phone, the dark and the keyboard', async () => {
    const phone = await ada.newPage();
    await phone.setViewportSize({ width: 360, height: 740 });
    await phone.emulateMedia({ colorScheme: 'dark' });
    for (const [path, shown] of [['/', '14-phone-list'], [`/codespaces/${name}`, '15-phone-codespace'], ['/new', '16-phone-new'], ['/settings', '17-phone-settings']]) {
      await phone.goto(`${gateway.origin}${path}`);
      await phone.locator('#app > *').first().waitFor();
      const wide = await phone.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      await shot(phone, shown);
      assert.ok(wide <= 0, `${path} is ${wide} px too wide`);
    }
    await phone.close();
  });

  await gateway.keepCookies(ada);
  assert.deepEqual(problems, [], 'nothing broke the content security policy');
});

/** A port's line on a codespace's page. */
function row(page, port) {
  return page.locator(`[data-testid=port-row][data-port="${port}"]`);
}
