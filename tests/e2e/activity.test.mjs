// What counts as use of a codespace, each kind by its own name; and that what is open and silent is none.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { eventually } from './harness/eventually.mjs';
import { BINARY, Gateway, environment, freePort } from './harness/gateway.mjs';
import { repository } from './harness/repositories.mjs';
import { Terminal } from './harness/terminal.mjs';
import * as vscode from './harness/vscode.mjs';

/** Use is forgotten after so many seconds here, and a process that asked for it keeps the codespace awake all the same. */
const CONFIG = '[codespaces]\nidle_minute = "1s"\n';
const FORGOTTEN = 20;
const PATIENCE = { seconds: 180 };

const INPUT = 'typing in a terminal';
const OUTPUT = 'output in a terminal';
const FILES = 'changed files';
const EXEC = 'a command that was run';
const SSH = 'a shell or a copy (portico codespace ssh, cp)';
const EDITOR = 'use of the editor';
const TRAFFIC = 'requests to its ports';

test('each kind of use has its name, and an open silent connection is none', async (t) => {
  const gateway = await Gateway.start(t, { config: CONFIG });
  const ada = await gateway.user('ada', { admin: true });
  const { name } = await gateway.codespace(ada.token, repository(t, { 'notes.txt': 'first\n' }), { idle_timeout_minutes: 240 });
  const why = async () => (await gateway.call(ada.token, 'GET', `/codespaces/${name}/activity`)).awake_because;
  const told = (reason) => eventually(`${reason} keeps it awake`, async () => (await why()).includes(reason), PATIENCE);
  const cs = (...rest) => gateway.command(['codespace', ...rest], { token: ada.token });
  const stays = (...command) => {
    const child = spawn(BINARY, command, { stdio: ['pipe', 'ignore', 'pipe'], env: environment({ PORTICO_URL: gateway.origin, PORTICO_TOKEN: ada.token }) });
    t.after(() => child.kill('SIGKILL'));
    return child;
  };
  const here = mkdtempSync('/tmp/pc-');
  t.after(() => rmSync(here, { recursive: true, force: true }));
  const port = await freePort();

  await t.test('a shell and copies count by their own name, commands by theirs', async () => {
    const before = await why();
    assert.ok(!before.includes(SSH) && !before.includes(EXEC), `${before}`);
    await cs('ssh', '-c', name, '--', 'true');
    await told(SSH);
    assert.ok(!(await why()).includes(EXEC), `${await why()}`);
    await cs('exec', name, '--', 'true');
    await told(EXEC);
  });

  await t.test('terminals count by what is typed and by what is printed', async () => {
    const { id } = await gateway.call(ada.token, 'POST', `/codespaces/${name}/terminals`, { cols: 80, rows: 24, command: ['cat'] });
    const terminal = await new Terminal(gateway, ada.token, name, id).attach();
    terminal.type('seen\n');
    await told(INPUT);
    await told(OUTPUT);
    await terminal.drop();
  });

  const server = `import socket, threading
def answer(peer):
    peer.recv(65536)
    peer.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok')
    peer.recv(1)
    peer.close()
listening = socket.create_server(('127.0.0.1', ${port}))
while True:
    threading.Thread(target=answer, args=listening.accept()[:1]).start()
`;
  let forwarded;

  await t.test('traffic of ports counts where the owner says so, raw TCP too', async () => {
    await gateway.serveInside(ada.token, name, ['python3', '-c', server], port);
    const at = { host: gateway.hostOf(name, port), path: '/', headers: { 'x-portico-token': ada.token } };
    assert.equal((await gateway.request(at)).status, 200);
    const local = await freePort();
    const forwarding = stays('ports', 'forward', `${port}:${local}`, '-c', name);
    let said = '';
    forwarding.stderr.on('data', (chunk) => (said += chunk));
    await eventually('it forwards', () => /Forwarding/.test(said));
    await cs('ssh', '-c', name, '--', 'true');
    await told(SSH);
    assert.ok(!(await why()).includes(TRAFFIC), `${await why()}`);
    await cs('edit', name, '--traffic-counts', 'yes');
    forwarded = net.connect(local, '127.0.0.1');
    t.after(() => forwarded.destroy());
    forwarded.on('error', () => {});
    forwarded.write('hello');
    await told(TRAFFIC);
  });

  await t.test('what is open and silent is no use', async (t) => {
    const { person } = await browser(t);
    const page = await (await person()).newPage();
    await signIn(page, gateway, ada);
    await page.goto(gateway.urlOf(name));
    await vscode.workbench(page);
    await told(EDITOR);
    await vscode.open(page, 'notes.txt');
    const shell = stays('codespace', 'ssh', '-c', name);
    await cs('exec', name, '--', 'sh', '-c', 'sleep 100000 >/dev/null 2>&1 & portico keepalive --pid $! --max 2h');
    await eventually('it is kept awake', async () => (await why()).some((reason) => reason.startsWith('sleep (process ')));
    await gateway.call(ada.token, 'PATCH', `/codespaces/${name}`, { idle_timeout_minutes: FORGOTTEN });
    // The editor's tab, the shell and the forwarded connection are open all the while.
    await eventually('only the process keeps it awake', async () => (await why()).length === 1, PATIENCE);
    assert.equal(shell.exitCode, null);
    assert.equal(forwarded.readyState, 'open');

    await eventually(
      'typing in the editor and the file that it saves are use',
      async () => {
        await vscode.replace(page, `${'typed '.repeat(300)}${Date.now()}\n`);
        const now = await why();
        return now.includes(EDITOR) && now.includes(FILES);
      },
      PATIENCE,
    );
    shell.stdin.write('true\n');
    await told(SSH);
    await eventually(
      'a request to the port is use',
      async () => {
        await gateway.request({ host: gateway.hostOf(name, port), path: '/', headers: { 'x-portico-token': ada.token } });
        return (await why()).includes(TRAFFIC);
      },
      PATIENCE,
    );
  });

  await t.test('a copy counts', async () => {
    await eventually('the copies of before are forgotten', async () => !(await why()).includes(SSH), PATIENCE);
    writeFileSync(path.join(here, 'large'), 'x'.repeat(1 << 20));
    await eventually(
      'a copy is use',
      async () => {
        await cs('cp', path.join(here, 'large'), 'remote:', '-c', name);
        return (await why()).includes(SSH);
      },
      PATIENCE,
    );
  });
});
