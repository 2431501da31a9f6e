// A machine of one's own: it joins with a token that is good once, from another HOME, and is a codespace from then on.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { eventually } from './harness/eventually.mjs';
import { BINARY, Gateway, freePort } from './harness/gateway.mjs';
import { LEVEL, Log, learnOrders, orderly } from './harness/hygiene.mjs';
import { request } from './harness/http.mjs';
import { Terminal } from './harness/terminal.mjs';

const UNIT = path.resolve(import.meta.dirname, '../../config/systemd/portico-machine.service');

/** A machine: a HOME of its own, and the agent in it. */
class Machine {
  constructor(t, gateway) {
    orderly(t);
    this.gateway = gateway;
    this.log = new Log('agent', 'of a machine of one’s own');
    this.log.starts = 0;
    this.home = mkdtempSync('/tmp/pm-');
    t.after(async () => {
      await this.stop('SIGKILL');
      this.log.close();
      rmSync(this.home, { recursive: true, force: true });
    });
  }

  start(...arguments_) {
    this.output = '';
    const env = { PATH: process.env.PATH, HOME: this.home, LANG: 'C.UTF-8', OF_THE_MACHINE: 'yes', ...(LEVEL ? { PORTICO_LOG_LEVEL: LEVEL } : {}) };
    this.process = spawn(BINARY, ['agent', 'join', ...arguments_], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.log.starts += 1;
    this.log.hear(this.process);
    for (const stream of [this.process.stdout, this.process.stderr]) stream.on('data', (chunk) => (this.output += chunk));
    this.ended = new Promise((done) => this.process.on('exit', (code, signal) => done(code ?? signal)));
  }

  async stop(signal = 'SIGTERM') {
    this.process?.kill(signal);
    return this.ended;
  }

  get orders() {
    return path.join(this.home, '.local/share/portico-machine/orders.json');
  }
}

test('a machine of one’s own', async (t) => {
  const gateway = await Gateway.start(t, { editor: false });
  const ada = await gateway.user('ada');
  const bob = await gateway.user('bob');
  const machine = new Machine(t, gateway);
  const token = async (person) => gateway.keepSecret('registration token', (await gateway.call(person.token, 'POST', '/machines/registrations', {})).token);
  const mine = async (person) => gateway.call(person.token, 'GET', '/codespaces');
  const connected = (wanted) => eventually(`it is ${wanted ? 'connected' : 'away'}`, async () => (await mine(ada))[0]?.connected === wanted);
  let name;

  await t.test('it joins, and is a codespace of whoever made the token', async () => {
    const secret = await token(ada);
    machine.start('--gateway', gateway.origin, '--token', secret, '--name', 'workstation');
    await connected(true);
    const [codespace] = await mine(ada);
    name = codespace.name;
    assert.deepEqual([codespace.display_name, codespace.runtime, codespace.state, codespace.repository], ['workstation', 'external', 'running', '']);
    assert.deepEqual(await mine(bob), []);
    assert.equal((await gateway.api(bob.token, 'GET', `/codespaces/${name}`)).status, 404);
    assert.equal(statSync(machine.orders).mode & 0o777, 0o600);
    assert.match((await gateway.command(['codespace', 'list'], { token: ada.token })).stdout, /connected\s+own machine workstation/);
    const again = await gateway.api(undefined, 'POST', '/machines/join', { token: secret, name: 'thief' });
    assert.deepEqual([again.status, again.json.type], [403, 'urn:portico:bad-registration']);
    const second = new Machine(t, gateway);
    second.start('--gateway', gateway.origin, '--token', secret);
    assert.equal(await second.ended, 3, second.output);
    assert.ok(!existsSync(second.orders));
  });

  await t.test('terminals, commands and ports work', async () => {
    const inside = async (...command) => (await gateway.exec(ada.token, name, command)).stdout.trim();
    assert.equal(await inside('sh', '-c', 'echo $HOME $OF_THE_MACHINE $CODESPACE_NAME; pwd'), `${machine.home} yes ${name}\n${machine.home}`);
    assert.ok(!existsSync(path.join(machine.home, '.gitconfig')), 'its HOME is left as it is');
    const { id } = await gateway.call(ada.token, 'POST', `/codespaces/${name}/terminals`, { cols: 80, rows: 24 });
    const terminal = await new Terminal(gateway, ada.token, name, id).attach();
    terminal.type('echo from-$((40+2))\r');
    await terminal.sees('from-42');
    const port = await freePort();
    await gateway.serveInside(ada.token, name, [process.execPath, '-e', `require('http').createServer((q, s) => s.end('from the machine')).listen(${port}, '127.0.0.1')`], port);
    const visit = (who) => request(gateway.port, { host: gateway.hostOf(name, port), headers: who ? { 'x-portico-token': who.token } : {} });
    assert.equal((await visit(ada)).text, 'from the machine');
    assert.deepEqual([(await visit()).status, (await visit(bob)).status], [401, 404]);
  });

  await t.test('nobody here starts or stops it, and it has no more rights than an agent', async () => {
    const stopped = await gateway.api(ada.token, 'POST', `/codespaces/${name}/stop`);
    assert.deepEqual([stopped.status, stopped.json.type], [409, 'urn:portico:own-machine']);
    assert.equal((await gateway.api(ada.token, 'POST', `/codespaces/${name}/start`)).status < 300, true);
    learnOrders(machine.orders);
    const { credential } = JSON.parse(readFileSync(machine.orders, 'utf8'));
    for (const target of ['/codespaces', '/user', '/user/secrets', '/users']) assert.equal((await gateway.api(credential, 'GET', target)).status, 401, target);
    assert.equal((await gateway.api(credential, 'POST', '/machines/registrations', {})).status, 401);
    const inside = (await gateway.exec(ada.token, name, ['sh', '-c', 'echo $PORTICO_TOKEN'])).stdout.trim();
    assert.equal((await gateway.api(inside, 'POST', '/machines/registrations', {})).status, 403);
    assert.equal((await gateway.api(undefined, 'POST', '/machines/registrations', {})).status, 401);
  });

  await t.test('it survives its own restart, and the gateway’s', async () => {
    const before = JSON.parse(readFileSync(machine.orders, 'utf8')).credential;
    assert.equal(await machine.stop(), 0, machine.output);
    await connected(false);
    assert.match((await gateway.command(['codespace', 'list'], { token: ada.token })).stdout, /away/);
    machine.start('--gateway', gateway.origin, '--token', 'used up already');
    await connected(true);
    await machine.stop('SIGKILL');
    await connected(false);
    machine.start();
    await connected(true);
    await gateway.kill9();
    await gateway.serve();
    await connected(true);
    assert.equal((await gateway.exec(ada.token, name, ['echo', 'here'])).stdout.trim(), 'here');
    await eventually('its credential was renewed and kept', () => JSON.parse(readFileSync(machine.orders, 'utf8')).credential !== before);
    learnOrders(machine.orders);
    assert.equal(statSync(machine.orders).mode & 0o777, 0o600);
    const other = spawn(BINARY, ['agent', 'join'], { env: { PATH: process.env.PATH, HOME: machine.home }, stdio: 'ignore' });
    assert.equal(await new Promise((done) => other.on('exit', done)), 1, 'one agent for one machine');
  });

  await t.test('the unit of systemd that we give out starts what takes it up again', async () => {
    const unit = readFileSync(UNIT, 'utf8');
    assert.equal(unit.match(/^ConditionPathExists=%h(.*)$/m)[1], machine.orders.slice(machine.home.length));
    const [program, ...arguments_] = unit.match(/^ExecStart=(.*)$/m)[1].split(' ');
    assert.deepEqual([path.basename(program), ...arguments_.slice(0, 2)], ['portico', 'agent', 'join']);
    assert.equal(await machine.stop(), 0, machine.output);
    await connected(false);
    machine.start(...arguments_.slice(2));
    await connected(true);
  });

  await t.test('it is on the page, and leaves when it is removed there', async () => {
    const { person, shot } = await browser(t);
    const page = await (await person()).newPage();
    await signIn(page, gateway, ada, '/new');
    await page.getByTestId('register-machine').click();
    const command = await page.getByTestId('join-command').innerText();
    assert.match(command, /^PORTICO_JOIN_TOKEN=ptm_\S+ portico agent join --gateway http:\/\/\S+$/);
    gateway.keepSecret('registration token', command.split(/[= ]/)[1]);
    await page.getByTestId('waiting-machine').scrollIntoViewIfNeeded();
    await shot(page, 'machines-register');
    await page.getByTestId('revoke-machine').click();
    await page.getByTestId('waiting-machine').waitFor({ state: 'detached' });
    await page.getByTestId('register-machine').waitFor();
    const late = new Machine(t, gateway);
    late.start('--gateway', gateway.origin, '--token', command.split(/[= ]/)[1], '--name', 'late');
    assert.equal(await late.ended, 3, late.output);
    await page.goto(`${gateway.origin}/`);
    const row = page.getByTestId('codespace-row').filter({ hasText: 'workstation' });
    await row.getByText('Connected').waitFor();
    await row.getByText('own machine').waitFor();
    assert.equal(await row.getByTestId('stop').count(), 0);
    await shot(page, 'machines-list');
    mkdirSync(path.join(machine.home, 'work'));
    writeFileSync(path.join(machine.home, 'work/precious'), 'stays');
    await row.getByTestId('delete').click();
    await page.getByRole('dialog').getByText('Everything on the machine stays').waitFor();
    await shot(page, 'machines-remove');
    await page.getByTestId('confirm-delete').click();
    await row.waitFor({ state: 'detached' });
    assert.equal(await machine.ended, 0, machine.output);
    assert.ok(!existsSync(machine.orders), 'nothing is left to come back with');
    assert.equal(readFileSync(path.join(machine.home, 'work/precious'), 'utf8'), 'stays');
    await gateway.keepCookies(page.context());
  });

  await t.test('tokens are bounded, and events are in the audit log', async () => {
    for (let count = 0; count < 20; count += 1) await gateway.api(bob.token, 'POST', '/machines/registrations', {});
    const refused = await gateway.api(bob.token, 'POST', '/machines/registrations', {});
    assert.deepEqual([refused.status, refused.json.type], [409, 'urn:portico:too-many-registrations']);
    const waiting = JSON.parse((await gateway.command(['agent', 'tokens', '--json'], { token: bob.token })).stdout);
    assert.equal(waiting.length, 20);
    assert.equal((await gateway.api(ada.token, 'DELETE', `/machines/registrations/${waiting[0].id}`)).status, 404, 'another person’s');
    await gateway.command(['agent', 'tokens', '--revoke', waiting[0].id], { token: bob.token });
    assert.match((await gateway.command(['agent', 'tokens', '--revoke', waiting[0].id], { token: bob.token, status: 4 })).stderr, /no such token/);
    assert.equal((await gateway.api(bob.token, 'POST', '/machines/registrations', {})).status, 201);
    const admin = await gateway.user('root', { admin: true });
    await eventually('the log tells it', async () => {
      const actions = (await gateway.call(admin.token, 'GET', '/audit?event=machine')).map(({ event }) => event);
      return ['machine.joined', 'machine.token-made', 'machine.token-revoked'].every((event) => actions.includes(event));
    });
  });
});
