// What a repository's devcontainer.json says of ports: labels, quiet, and an offer that only the owner can take.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { becomes, eventually } from './harness/eventually.mjs';
import { Gateway, freePort } from './harness/gateway.mjs';
import { request } from './harness/http.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

const SERVER = `import http from 'node:http';
const port = Number(process.argv[2]);
http.createServer((request, response) => response.end('hello')).listen(port, '127.0.0.1', () => console.log('open localhost:' + port + '/app'));
`;

test('ports as devcontainer.json says', async (t) => {
  const gateway = await Gateway.start(t, { editor: false });
  const ada = await gateway.user('ada', { admin: true });
  const [web, quiet, database, debug, other] = [await freePort(), await freePort(), await freePort(), await freePort(), await freePort()];
  const file = (shares) => `{
    // JSON with comments
    "forwardPorts": [${database}],
    "portsAttributes": {
      "${web}": { "label": "Web <shop>", "onAutoForward": "notify" },
      "server\\\\.mjs ${quiet}": { "label": "By its command line", "onAutoForward": "silent" },
      "${database}": { "label": "Database", "protocol": "https", "requireLocalPort": true },
    },
    "otherPortsAttributes": { "onAutoForward": "silent" },
    "customizations": { "portico": { "ports": ${JSON.stringify(shares)} } },
  }`;
  const git = await serveRepositories(t, { project: repository(t, { 'server.mjs': SERVER, '.devcontainer/devcontainer.json': file({ [web]: 'public', [quiet]: { visibility: 'org' } }) }) });
  const { name } = await gateway.codespace(ada.token, `${git}/project`, { editor: false });
  const port = async (number) => (await gateway.call(ada.token, 'GET', `/codespaces/${name}/ports`)).find((row) => row.port === number);
  const offer = async () => (await gateway.call(ada.token, 'GET', `/codespaces/${name}`)).offer;
  let serving;
  const { person, shot } = await browser(t);
  const page = await (await person()).newPage();
  await signIn(page, gateway, ada);
  await page.goto(`${gateway.origin}/codespaces/${name}`);
  await page.getByTestId('offer').waitFor();

  await t.test('what is to be forwarded is listed before it listens, and what is not supported is said', async () => {
    await eventually('it is listed', () => port(database));
    assert.deepEqual({ ...(await port(database)) }, { ...(await port(database)), label: 'Database', protocol: 'https', listening: false, visibility: 'private' });
    const told = async () => (await gateway.call(ada.token, 'GET', `/codespaces/${name}`)).notices;
    await eventually('everybody who looks is told', async () => (await told()).some(({ key, reason }) => key === '.devcontainer/devcontainer.json' && /requireLocalPort is not supported/.test(reason)));
    await eventually('the log says it', async () => (await gateway.command(['codespace', 'logs', name], { token: ada.token })).stdout.includes('requireLocalPort is not supported'));
  });

  await t.test('labels, and what a new port does, by number and by command line', async () => {
    // The one of which nothing is said comes first; the toast of the other is there for twenty seconds.
    await gateway.serveInside(ada.token, name, [process.execPath, 'server.mjs', `${quiet}`], quiet);
    await page.locator(`[data-testid=port-row][data-port="${quiet}"]`).getByText('By its command line').waitFor();
    const toast = page.getByTestId('toast').filter({ hasText: `Port ${web}` }).filter({ hasText: 'Web <shop>' });
    const told = toast.waitFor();
    serving = await gateway.serveInside(ada.token, name, [process.execPath, 'server.mjs', `${web}`], web);
    await told;
    assert.equal(await page.getByTestId('toast').filter({ hasText: `Port ${quiet}` }).count(), 0);
    await shot(page, 'declared-offer-and-toast');
    await toast.getByTestId('toast-share').click();
    await page.getByTestId('port-options').waitFor();
    await shot(page, 'declared-share');
    await page.setViewportSize({ width: 390, height: 800 });
    await shot(page, 'declared-phone');
    await page.setViewportSize({ width: 1280, height: 800 });
    const said = async (number) => [(await port(number)).label, (await port(number)).on_auto_forward];
    assert.deepEqual(await said(web), ['Web <shop>', 'notify']);
    assert.deepEqual(await said(quiet), ['By its command line', 'silent']);
    await gateway.serveInside(ada.token, name, [process.execPath, 'server.mjs', `${other}`], other);
    await becomes(() => said(other), [null, 'silent']);
  });

  await t.test('a debugger is no port to show, and can be reached all the same', async () => {
    await gateway.call(ada.token, 'POST', `/codespaces/${name}/terminals`, { cols: 80, rows: 24, command: [process.execPath, `--inspect=127.0.0.1:${debug}`, '-e', 'setInterval(() => {}, 1000)'] });
    await eventually('it answers', async () => (await request(gateway.port, { host: gateway.hostOf(name, debug), path: '/json/version', headers: { 'x-portico-token': ada.token } })).status === 200);
    assert.equal(await port(debug), undefined);
  });

  await t.test('asking to share opens nothing; the owner does, once', async () => {
    assert.equal((await port(web)).visibility, 'private');
    assert.equal((await request(gateway.port, { host: gateway.hostOf(name, web) })).status, 401);
    const asked = await offer();
    assert.deepEqual(asked.ports, [{ port: web, visibility: 'public', now: 'private' }, { port: quiet, visibility: 'org', now: 'private' }].sort((a, b) => a.port - b.port));
    const inside = (await gateway.exec(ada.token, name, ['sh', '-c', 'echo $PORTICO_TOKEN'])).stdout.trim();
    assert.equal((await gateway.api(inside, 'POST', `/codespaces/${name}/offer`, { hash: asked.hash, accept: true })).status, 403);
    assert.equal((await gateway.api(ada.token, 'POST', `/codespaces/${name}/offer`, { hash: '0'.repeat(64), accept: true })).status, 422);
    await page.getByTestId('offer-accept').click();
    await page.getByTestId('offer').waitFor({ state: 'detached' });
    assert.deepEqual([(await port(web)).visibility, (await port(quiet)).visibility], ['public', 'org']);
    assert.equal((await request(gateway.port, { host: gateway.hostOf(name, web) })).text, 'hello');
    await becomes(async () => (await gateway.call(ada.token, 'GET', '/audit?event=ports.offer-accepted')).map(({ actor }) => actor), ['ada']);
  });

  await t.test('another content is another question, also on the command line', async () => {
    await gateway.exec(ada.token, name, ['sh', '-c', `cat > .devcontainer/devcontainer.json <<'END'\n${file({ [database]: 'public' })}\nEND`]);
    await eventually('it is asked', offer);
    const shown = await gateway.command(['ports', 'offer', '-c', name], { token: ada.token });
    assert.match(shown.stdout, new RegExp(`${database}\tpublic\tprivate`));
    await gateway.command(['ports', 'offer', '--dismiss', '-c', name], { token: ada.token });
    assert.equal(await offer(), null);
    assert.equal((await port(database)).visibility, 'private');
  });

  await t.test('what was decided and set survives a restart, and is not asked again', async () => {
    await gateway.call(ada.token, 'PATCH', `/codespaces/${name}/ports/${database}`, { label: 'Mine', protocol: 'http' });
    await gateway.kill9();
    await gateway.serve();
    await gateway.ready(ada.token, name, { editor: false });
    await gateway.listed(ada.token, name, web);
    await becomes(async () => [(await port(database))?.label, (await port(database))?.protocol], ['Mine', 'http']);
    assert.equal((await port(web)).visibility, 'public');
    assert.equal(await offer(), null);
  });

  await t.test('a bare address that a program prints is a link to the forwarded port', async () => {
    await page.goto(`${gateway.origin}/codespaces/${name}/terminals/${serving.id}`);
    const screen = page.locator('[data-testid=terminal]').first();
    await screen.waitFor();
    const at = await eventually('the address is drawn', () => page.evaluate((number) => {
      const { terminal } = document.querySelector('[data-testid=terminal]');
      for (let y = 0; y < terminal.rows; y += 1) {
        const x = terminal.buffer.active.getLine(y)?.translateToString(true).indexOf(`localhost:${number}`) ?? -1;
        if (x >= 0) return { x, y, cols: terminal.cols, rows: terminal.rows };
      }
      return undefined;
    }, web));
    const box = await page.locator('[data-testid=terminal] .xterm-screen').first().boundingBox();
    const [x, y] = [box.x + (box.width / at.cols) * (at.x + 3.5), box.y + (box.height / at.rows) * (at.y + 0.5)];
    await page.mouse.move(x, y);
    await page.mouse.move(x + 2, y);
    const opened = page.waitForEvent('popup');
    await eventually('it is a link', () => screen.getAttribute('title'));
    await page.mouse.click(x + 2, y);
    const app = await opened;
    await becomes(() => new URL(app.url()).host, gateway.hostOf(name, web));
    assert.equal(new URL(app.url()).pathname, '/app');
  });
});
