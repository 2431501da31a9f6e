// A real gateway for a test: the real binary on a free port with data of its own, ended with everything it started.
import { execFileSync, spawn } from 'node:child_process';
import { createWriteStream, mkdtempSync, readFileSync, rmSync, symlinkSync, mkdirSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { request } from './http.mjs';
import { eventually } from './eventually.mjs';
import * as hygiene from './hygiene.mjs';
import * as processes from './processes.mjs';

export const BINARY = process.env.PORTICO_BIN ?? path.resolve(import.meta.dirname, '../../../target/debug/portico');
export const ARTEFACTS = path.resolve(import.meta.dirname, '../../artefacts');
const MAKE_CA = path.resolve(import.meta.dirname, '../../../certs/make-local-ca');
const EDITORS = process.env.PORTICO_EDITORS;

const given = new Set();

/**
 * A TCP port of loopback that nobody listens on, and that nobody else gets: it lies below those that the system gives to
 * outgoing connections (and beside those of tests/doors), and is given once.
 */
export async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 8000);
    if (given.has(port)) continue;
    given.add(port);
    const server = net.createServer();
    const free = await new Promise((done) => server.on('error', () => done(false)).listen(port, '127.0.0.1', () => done(true)));
    if (!free) continue;
    await new Promise((done) => server.close(done));
    return port;
  }
}

export class Gateway {
  /** What no log may hold: `[kind, secret]`. All logs are searched for them when the test has ended (LOG-1). */
  get secrets() {
    return hygiene.kept();
  }

  /** Has all logs searched for a secret of a kind that the harness does not see pass. */
  keepSecret(kind, secret) {
    return hygiene.keep(kind, secret);
  }

  /**
   * Starts a gateway. `t` is the test; `editor: false` leaves it without an editor; `url` is where a proxy has it, and
   * `domain` the codespaces' then; `tls` has it speak TLS with a certificate of an authority made for it, `authority` then.
   */
  static async start(t, { editor = true, config, url, domain, listen, tls = false } = {}) {
    hygiene.orderly(t);
    const gateway = new Gateway();
    // Short, because Unix sockets below it must fit into 107 bytes.
    gateway.data = mkdtempSync('/tmp/pt-');
    gateway.port = await freePort();
    gateway.url = url;
    gateway.domain = domain;
    gateway.listen = listen;
    gateway.name = t.name.replaceAll(/[^a-z0-9]+/gi, '-').slice(0, 60);
    if (tls) gateway.#certify();
    if (config) writeFileSync(path.join(gateway.data, 'portico.toml'), config);
    gateway.config = config ? ['--config', path.join(gateway.data, 'portico.toml')] : [];
    if (editor) {
      if (!EDITORS) throw new Error('PORTICO_EDITORS is not set: run the tests through tests/run, which installs an editor');
      mkdirSync(gateway.data, { recursive: true });
      symlinkSync(EDITORS, path.join(gateway.data, 'editors'));
    }
    gateway.said = new hygiene.Log('gateway', t.name);
    gateway.said.starts = 0;
    hygiene.follow(gateway.data);
    t.after(() => gateway.end());
    await gateway.serve();
    return gateway;
  }

  #certify() {
    const directory = path.join(this.data, 'ca');
    execFileSync(MAKE_CA, [directory], { stdio: 'ignore' });
    this.authority = path.join(directory, 'ca.pem');
    this.ca = readFileSync(this.authority);
    this.certificate = { PORTICO_TLS_CERTIFICATE: path.join(directory, 'portico.pem'), PORTICO_TLS_KEY: path.join(directory, 'portico.key') };
  }

  get scheme() {
    return this.ca ? 'https' : 'http';
  }

  /** The gateway host's origin. */
  get origin() {
    return this.url ?? `${this.scheme}://portico.localhost:${this.port}`;
  }

  get host() {
    return this.domain ? new URL(this.url).host : `portico.localhost:${this.port}`;
  }

  /** The host of a codespace's editor, or of one of its ports. */
  hostOf(codespace, port) {
    return `${codespace}${port ? `-${port}` : ''}.${this.domain ?? `codespaces.localhost:${this.port}`}`;
  }

  urlOf(codespace, port) {
    return `${this.scheme}://${this.hostOf(codespace, port)}/`;
  }

  /** Starts the process, or starts it again, and returns when it answers; its clock may be `ahead` by so much, for instance `+6m`. */
  async serve({ ahead } = {}) {
    mkdirSync(ARTEFACTS, { recursive: true });
    const arguments_ = ['serve', ...this.config, '--data', this.data, '--listen', `${this.listen ?? '127.0.0.1'}:${this.port}`, '--url', this.origin, '--domain', this.domain ?? 'codespaces.localhost'];
    const log = createWriteStream(path.join(ARTEFACTS, `${this.name}.log`), { flags: 'a' });
    const env = environment({ ...this.certificate, ...(ahead ? clock(ahead) : {}) });
    this.process = spawn(BINARY, arguments_, { stdio: ['ignore', 'pipe', 'pipe'], env });
    this.output = '';
    this.said.hear(this.process);
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.on('data', (chunk) => {
        this.output += chunk;
        log.write(chunk);
      });
    }
    this.exited = new Promise((done) => this.process.on('exit', (code, signal) => done(code ?? signal)));
    // What it started may hold its output open for longer.
    this.silent = new Promise((done) => this.process.on('close', done));
    let ended;
    this.exited.then((code) => (ended = code));
    await eventually('the gateway is ready', async () => {
      if (ended !== undefined) throw Object.assign(new Error(`the gateway ended with ${ended}:\n${this.output}`), { fatal: true });
      return (await this.request({ path: '/readyz' })).status === 200;
    });
    this.said.starts += 1;
  }

  /** Keeps the cookies that a browser has by now as secrets. */
  keepCookies(context) {
    return hygiene.keepCookies(context);
  }

  /** The one-time link that the first start prints. */
  async setupLink() {
    return eventually('the sign-in link is printed', () => this.output.match(/http:\/\/[^\s]+\/setup#[^\s\x1b]+/)?.[0]);
  }

  async kill9() {
    this.process.kill('SIGKILL');
    await this.exited;
  }

  /** Makes an account and a token of it with the command line, as automation does. */
  async user(name, { admin = false, password = `pw-of-${name}-0123456789` } = {}) {
    await this.command(['user', 'create', name, ...(admin ? ['--admin'] : []), '--password-stdin', '--data', this.data], { input: `${password}\n` });
    const token = await this.command(['token', 'create', '--user', name, '--scope', 'all', '--data', this.data]);
    this.keepSecret('password', password);
    return { name, password, token: this.keepSecret('access token', token.stdout.trim()) };
  }

  /** Runs `portico …`; fails unless it ends with `status` (null for any). */
  async command(arguments_, { token, input, status = 0, env = {} } = {}) {
    // A name that is only made up leads nowhere: then the operator asks, for the first admin.
    const named = this.domain ? { PORTICO_DATA: this.data } : { PORTICO_URL: this.origin, PORTICO_TOKEN: token };
    const client = token ? named : {};
    const child = spawn(BINARY, arguments_, { stdio: ['pipe', 'pipe', 'pipe'], env: environment({ ...client, ...env }) });
    const done = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk) => (done.stdout += chunk));
    child.stderr.on('data', (chunk) => (done.stderr += chunk));
    child.stdin.on('error', () => {});
    child.stdin.end(input ?? '');
    const [kept] = arguments_;
    if (input && { secret: 1, 'git-credential': 1 }[kept]) this.keepSecret(kept === 'secret' ? 'user secret' : 'git password', input.trim());
    done.status = await new Promise((end) => child.on('close', (code, signal) => end(code ?? signal)));
    hygiene.learnText(done.stdout);
    if (status !== null && done.status !== status) {
      throw new Error(`portico ${arguments_.join(' ')} ended with ${done.status}, not ${status}\n${done.stdout}\n${done.stderr}`);
    }
    return done;
  }

  /** One exchange with the gateway itself, whatever stands in front. */
  request(options) {
    return request(this.port, { host: this.host, ca: this.ca, ...options });
  }

  /** Calls the API with a token; the answer has `status`, `headers`, `text` and, if it is JSON, `json`. */
  async api(token, method, target, body) {
    const headers = { ...(token ? { authorization: `Bearer ${token}` } : {}), ...(body === undefined ? {} : { 'content-type': 'application/json' }) };
    return this.request({ method, path: `/api/v1${target}`, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  }

  /** Calls the API and fails unless it answers 2xx. */
  async call(token, method, target, body) {
    const answer = await this.api(token, method, target, body);
    if (answer.status >= 300) throw new Error(`${method} ${target} answered ${answer.status}: ${answer.text}`);
    return answer.json;
  }

  /** Creates a codespace and returns it when its repository is checked out (and its editor ready, if it has one). */
  async codespace(token, repository, { editor = true, ...more } = {}) {
    const { name } = await this.call(token, 'POST', '/codespaces', { repository, ...more });
    return this.ready(token, name, { editor });
  }

  /** Waits until a codespace is running, checked out and, if asked, its editor ready. */
  async ready(token, name, { editor = true } = {}) {
    return eventually(`codespace ${name} is ready`, async () => {
      const codespace = await this.call(token, 'GET', `/codespaces/${name}`);
      if (codespace.state === 'failed') throw Object.assign(new Error(`${name} failed: ${JSON.stringify(codespace)}`), { fatal: true });
      const cloned = codespace.steps.find((step) => step.name === 'clone')?.state;
      const ready = codespace.state === 'running' && codespace.connected && ['done', 'skipped'].includes(cloned) && (!editor || codespace.editor === 'ready');
      if (!ready) throw new Error(JSON.stringify(codespace));
      hygiene.orders(this.data);
      return codespace;
    });
  }

  /** Runs a command inside a codespace to its end. */
  async exec(token, codespace, command, options = {}) {
    return this.command(['codespace', 'exec', codespace, '--', ...command], { token, ...options });
  }

  /** Starts a command inside a codespace that runs until the test ends; resolves when `port` is listed as its own. */
  async serveInside(token, codespace, command, port) {
    const terminal = await this.call(token, 'POST', `/codespaces/${codespace}/terminals`, { cols: 80, rows: 24, command });
    await this.listed(token, codespace, port);
    return terminal;
  }

  /** Waits until a port is listed as listening. */
  async listed(token, codespace, port) {
    return eventually(`port ${port} of ${codespace} is listed`, async () => {
      const ports = await this.call(token, 'GET', `/codespaces/${codespace}/ports`);
      return ports.find((row) => row.port === port && row.listening);
    });
  }

  /** The agents of this gateway's codespaces, as process ids. */
  agents() {
    return processes.find((found) => found.command.includes('agent') && found.commandLine.includes(this.data) && found.command[0].includes('portico'));
  }

  /** Ends the gateway and all that it started. */
  async end() {
    this.process.kill('SIGTERM');
    const deadline = setTimeout(() => this.process.kill('SIGKILL'), 35_000);
    await this.exited;
    clearTimeout(deadline);
    await processes.endAllOf(this.data);
    await silence(this.silent);
    tidy(this.data, this.said);
  }

  /** The gateway's log so far, of all its processes. */
  log() {
    return this.said.text;
  }
}

/** What has a process see another time, as `faketime` does; that one would stand between the process and signals to it. */
function clock(ahead) {
  const LD_PRELOAD = execFileSync('faketime', ['-f', '+0', 'printenv', 'LD_PRELOAD'], { encoding: 'utf8' }).trim();
  return { LD_PRELOAD, FAKETIME: ahead, FAKETIME_DONT_FAKE_MONOTONIC: '1' };
}

/** Waits until nobody holds the output of a gateway that has ended; whoever still does is a defect, and is not waited for. */
async function silence(silent) {
  let late;
  const over = new Promise((_, fail) => (late = setTimeout(() => fail(new Error('something holds the output of a gateway that has ended')), 60_000)));
  await Promise.race([silent, over]).finally(() => clearTimeout(late));
}

/** The environment of this process without what would lead `portico` elsewhere. */
export function environment(more = {}) {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('PORTICO_') && !name.startsWith('CODESPACE'));
  return { ...Object.fromEntries(kept), ...(hygiene.LEVEL ? { PORTICO_LOG_LEVEL: hygiene.LEVEL } : {}), ...more };
}

/**
 * Looks after a gateway that a test started itself: hears what it says, and ends it with all that it started and its data.
 * Resolves `exited` to its status.
 */
export function attend(t, child, data) {
  hygiene.orderly(t);
  const log = new hygiene.Log('gateway', t.name);
  log.hear(child);
  hygiene.follow(data);
  const exited = new Promise((done) => child.on('exit', (code, signal) => done(code ?? signal)));
  t.after(async () => {
    child.kill('SIGTERM');
    await exited;
    await processes.endAllOf(data);
    tidy(data, log);
  });
  return exited;
}

/** Takes what is left of a gateway that has ended: its agents' logs and, after that, its data. */
function tidy(data, log) {
  hygiene.agents(data);
  log.close();
  rmSync(data, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}
