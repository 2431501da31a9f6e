// What no log may hold, and the logs: one ledger for a test file (LOG-1).
//
// Every secret that passes through the harness (or a browser of it) is written down as a canary of its kind; every log of
// a gateway or an agent that a test causes is searched for all of them, in the spellings that logs use, when the test has
// ended. With PORTICO_TEST_LOG_LEVEL=trace, as tests/run hygiene has it, a log must also prove that it held everything.
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, fstatSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** How much gateways and agents log; their default if there is none. */
export const LEVEL = process.env.PORTICO_TEST_LOG_LEVEL;
/** Where a report of what was searched is left. */
const REPORTS = process.env.PORTICO_TEST_HYGIENE;
/** What a program that logs says first, from DEBUG on; the search must find it, too. */
const CONTROL = 'the log is filtered';
/** What a part of an agent's log says first if another was before it (src/log_file.rs). */
const GOES_ON = 'this log goes on from the file beside it';
/** How often to look for agents' logs, in ms: a codespace that is deleted takes its own with it. */
const LOOK = 200;
/** Shorter ones are in logs by chance. */
const SHORTEST = 8;

/** The kinds of secrets. A whole run plants each of them. */
export const KINDS = [
  'password', 'access token', 'session cookie', 'host cookie', 'nonce cookie', 'flow cookie', 'grant cookie', 'ticket', 'state', 'code',
  'device code', 'client secret', 'token of a provider', 'one-time link', 'share link', 'share password', 'webhook link',
  'user secret', 'git password', 'registration token', 'agent credential', 'proxy password', 'typed text', 'text of a socket', "app's secret",
];

/** By the end of a cookie's name, which may be random. */
const COOKIES = { session: 'session cookie', access: 'host cookie', nonce: 'nonce cookie', flow: 'flow cookie', grant: 'grant cookie' };
const OURS = /(^|\.)(portico|codespaces)\.(localhost|test)$|\.apps\.test$/;

const secrets = new Map();
const logs = [];
const hits = [];
const lost = [];
/** The codespaces whose agents gateways spoke of. */
const spoken = new Set();
/** What is open of agents' logs, by file. */
const followed = new Map();

/** Writes a secret down; one that could not be searched for is a mistake of the test. */
export function keep(kind, secret) {
  if (!KINDS.includes(kind)) throw new Error(`no kind of secret: ${kind}`);
  if (secret.length < SHORTEST || /[\r\n]/.test(secret)) throw new Error(`the ${kind} cannot be searched for: make it one line of ${SHORTEST} characters or more`);
  if (!secrets.has(secret)) secrets.set(secret, kind);
  return secret;
}

/** The secrets so far, as `[kind, secret]`. */
export function kept() {
  return [...secrets].map(([secret, kind]) => [kind, secret]);
}

function learn(kind, secret) {
  if (typeof secret === 'string' && secret.length >= SHORTEST && !/[\r\n]/.test(secret)) keep(kind, secret);
}

/** Writes down what an address tells. */
export function learnAddress(address) {
  if (!URL.canParse(address, 'http://here')) return;
  const { pathname, searchParams, hash } = new URL(address, 'http://here');
  const [, kind, secret] = pathname.match(/^\/\.portico\/(s|in)\/([^/]+)/) ?? [];
  learn(kind === 's' ? 'share link' : 'webhook link', secret);
  if (pathname === '/setup') learn('one-time link', hash.slice(1));
  const code = pathname.startsWith('/device') ? 'device code' : 'code';
  for (const [name, of] of Object.entries({ state: 'state', nonce: 'state', code, user_code: code, ticket: 'ticket' })) searchParams.getAll(name).forEach((value) => learn(of, value));
}

/** Writes down what a text that somebody printed tells. */
export function learnText(text) {
  for (const [token] of text.matchAll(/\bptm?_[\w-]{16,}/g)) learn(token.startsWith('ptm_') ? 'registration token' : 'access token', token);
  for (const [address] of text.matchAll(/https?:\/\/[^\s"']+\/(?:\.portico\/(?:s|in)\/|setup#)[^\s"'\x1b]+/g)) learnAddress(address);
}

/** Writes down a body of JSON or a form, by the path that it was sent to or came from. */
export function learnBody(address, text) {
  if (typeof text !== 'string' || text.length > 100_000) return;
  const { pathname } = new URL(address, 'http://here');
  for (const [name, value] of fields(text)) {
    if (/password$/.test(name)) learn(/git/.test(pathname) ? 'git password' : /links|\.portico\/s/.test(pathname) ? 'share password' : 'password', value);
    else if (name === 'ticket') learn('ticket', value);
    else if (['token', 'secret', 'value', 'credential'].includes(name)) learnNamed(pathname, name, value);
    else if (/^(user_|device_)?code$/.test(name)) learn(pathname.includes('device') ? 'device code' : 'code', value);
    else if (name === 'url' && typeof value === 'string') learnText(value);
  }
}

function learnNamed(pathname, name, value) {
  if (typeof value !== 'string') return;
  if (/^ptm?_/.test(value)) learnText(value);
  else if (/\/secrets/.test(pathname)) learn('user secret', value);
  else if (/setup/.test(pathname)) learn('one-time link', value);
  else if (name === 'credential') learn('agent credential', value);
}

function fields(text) {
  try {
    return Object.entries(JSON.parse(text) ?? {});
  } catch {
    return text.includes('=') ? new URLSearchParams(text) : [];
  }
}

/** Writes down what is in a head: pairs of names and values. */
export function learnHead(head) {
  for (const [name, value] of head) {
    const field = name.toLowerCase();
    if (field === 'cookie') for (const pair of `${value}`.split(/;\s*/)) learnCookie(pair);
    else if (field === 'set-cookie') for (const cookie of [value].flat()) cookie.split('\n').forEach((one) => learnCookie(one.split(';')[0]));
    else if (field === 'location') learnAddress(value);
    else if (/^(proxy-)?authorization$|^x-portico-token$/.test(field)) learnCredential(`${value}`);
  }
}

function learnCredential(value) {
  const secret = value.replace(/^(Bearer|Basic) /i, '');
  learn(secret.startsWith('pt_') ? 'access token' : "app's secret", secret);
}

/** Writes down a cookie, `NAME=VALUE`. */
export function learnCookie(pair) {
  const [, name, value] = pair.match(/^\s*([^=]+)=(.*)$/) ?? [];
  const [, ours] = name?.match(/^__Host-portico_([a-z]+)/i) ?? [];
  if (ours ? COOKIES[ours] : name) learn(ours ? COOKIES[ours] : "app's secret", value);
}

/** Writes down what a browser's pages exchange with us; where time matters, only where everything is logged. */
export function watch(context) {
  if (!LEVEL) return;
  const ours = (message) => URL.canParse(message.url()) && OURS.test(new URL(message.url()).hostname);
  context.on('request', (request) => {
    if (!ours(request)) return;
    learnAddress(request.url());
    if (/json|form-urlencoded/.test(request.headers()['content-type'])) learnBody(request.url(), request.postData());
  });
  context.on('response', (response) => {
    // What its page does not wait for is lost with it.
    if (ours(response)) response.headersArray().then((head) => learnHead(head.map(({ name, value }) => [name, value])), () => {});
  });
  const close = context.close.bind(context);
  context.close = async (...how) => {
    await keepCookies(context);
    return close(...how);
  };
}

/** Writes down the cookies of ours that a browser has by now. */
export async function keepCookies(context) {
  const cookies = await context.cookies().catch(() => []);
  for (const { name, value } of cookies) if (name.startsWith('__Host-portico')) learnCookie(`${name}=${value}`);
}

/** A log that is written while it is read. It is searched once it is closed. */
export class Log {
  text = '';
  /** How many programs must have said what they filter. */
  starts = 1;

  constructor(kind, name) {
    Object.assign(this, { kind, name });
    logs.push(this);
    reports();
  }

  /** Takes what a program says; the links that it prints for people are no log. */
  hear(child) {
    child.stderr?.on('data', (chunk) => (this.text += chunk));
    child.stdout?.on('data', (chunk) => {
      learnText(`${chunk}`);
      this.text += `${chunk}`.replaceAll(/\/setup#\S+/g, '');
    });
  }

  close() {
    this.closed = true;
  }
}

/** Keeps the logs of the agents below a gateway's data open from their first moment to `agents`, whatever becomes of them. */
export function follow(data) {
  if (!LEVEL) return;
  followed.set(data, { open: new Map(), timer: setInterval(() => look(data), LOOK).unref() });
}

function look(data) {
  const { open } = followed.get(data);
  for (const file of states(data).filter((name) => /log[^/]*$/.test(name))) {
    try {
      const fd = openSync(file, 'r');
      const { dev, ino } = fstatSync(fd);
      if (open.has(`${dev}:${ino}`)) closeSync(fd);
      else open.set(`${dev}:${ino}`, { file, fd });
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
  }
}

/** Takes the logs and credentials of the agents below a gateway's data, which have ended. */
export function agents(data) {
  orders(data);
  if (!followed.has(data)) followed.set(data, { open: new Map() });
  look(data);
  const { open, timer } = followed.get(data);
  clearInterval(timer);
  followed.delete(data);
  const whole = new Map();
  for (const { file, fd } of open.values()) {
    const text = readFileSync(fd, 'latin1');
    closeSync(fd);
    if (!text) continue;
    const agents = path.basename(file).startsWith('agent.log');
    const first = !text.startsWith(GOES_ON);
    Object.assign(new Log('agent', file), { text, closed: true, starts: agents && first ? 1 : 0 });
    if (agents) whole.set(path.dirname(file), whole.get(path.dirname(file)) || first);
  }
  for (const [directory, first] of whole) if (!first) lost.push(`the beginning of the agent's log is lost in ${directory}`);
}

/** Writes down what the agents below a gateway's data were told. */
export function orders(data) {
  for (const file of states(data).filter((name) => name.endsWith('.json'))) learnOrders(file);
}

/** Writes down what a file of an agent's orders holds. */
export function learnOrders(file) {
  try {
    const { credential, environment } = JSON.parse(readFileSync(file, 'utf8'));
    learn('agent credential', credential);
    learn('access token', environment?.PORTICO_TOKEN);
  } catch {
    // Another file, or one that was replaced just now.
  }
}

/** What agents keep below a gateway's data. */
function states(data) {
  const names = (directory) => (existsSync(directory) ? readdirSync(directory) : []);
  const directories = names(path.join(data, 'codespaces')).map((name) => path.join(data, 'codespaces', name, 'state'));
  return directories.flatMap((directory) => names(directory).map((name) => path.join(directory, name))).filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile());
}

const ordered = new WeakSet();

/**
 * Has all endings of a test run, in their order, whatever becomes of one of them; then searches the logs. What failed is
 * told after that: one that is left out leaves a process behind that nobody ends.
 */
export function orderly(t) {
  if (ordered.has(t)) return;
  ordered.add(t);
  const endings = [];
  t.after(async () => {
    const failed = [];
    for (const end of [...endings, search]) {
      try {
        await end();
      } catch (error) {
        failed.push(error);
      }
    }
    if (failed.length > 0) throw failed.length === 1 ? failed[0] : new AggregateError(failed, failed.map(({ message }) => message).join('\n'));
  });
  t.after = (end) => endings.push(end);
}

/** Searches what is closed and was not searched yet; fails if it holds a secret, or does not prove that it holds all else. */
function search() {
  const wrong = [...lost.splice(0), ...logs.filter((log) => log.closed && !log.searched).flatMap(searched)];
  hits.push(...wrong);
  if (wrong.length > 0) throw new Error(`LOG-1: ${wrong.join('\n')}`);
}

function searched(log) {
  const spellings = new Map([...secrets].flatMap(([secret, kind]) => spelt(secret).map((text) => [text, kind])));
  const found = grep(log.text, [CONTROL, ...spellings.keys()]);
  log.searched = true;
  log.bytes = Buffer.byteLength(log.text);
  const wrong = found.filter((text) => text !== CONTROL).map((text) => {
    const at = log.text.indexOf(text);
    return `a ${spellings.get(text)} is in the log of ${log.kind} ${log.name}, after: …${log.text.slice(Math.max(0, at - 200), at)}`;
  });
  if (LEVEL) {
    const told = [...log.text.matchAll(/the log is filtered.*/g)].filter(([line]) => line.split(/[\s",=]+/).includes(LEVEL)).length;
    if (told < log.starts || (log.starts > 0 && !found.includes(CONTROL))) wrong.push(`the log of ${log.kind} ${log.name} does not tell ${log.starts} times that it is filtered by ${LEVEL} (but ${told} times), so it proves nothing`);
  }
  if (log.kind === 'gateway') for (const [, name] of log.text.matchAll(/an agent's connection ended.*?\bcodespace"?[=:]"?([a-z0-9-]+)/g)) spoken.add(name);
  log.text = '';
  return wrong;
}

/** As it is, as in an address, as in base64 of either alphabet (wherever it begins), and as bytes that somebody printed as numbers. */
export function spelt(secret) {
  const bytes = Buffer.from(secret);
  const coded = [0, 1, 2].flatMap((before) => {
    const text = Buffer.concat([Buffer.alloc(before, 'x'), bytes]).toString('base64').replaceAll('=', '').slice(before ? 4 : 0, -2);
    return [text, text.replaceAll('+', '-').replaceAll('/', '_')];
  });
  const hex = bytes.toString('hex');
  const numbers = [...bytes].slice(0, 24).join(', ');
  return [...new Set([secret, encodeURIComponent(secret), ...coded.filter((text) => text.length >= SHORTEST), hex, hex.toUpperCase(), numbers])];
}

/** Which of the texts are there, each once. */
function grep(text, texts) {
  const directory = mkdtempSync('/tmp/pg-');
  try {
    const file = path.join(directory, 'texts');
    writeFileSync(file, texts.join('\n'));
    // Not -m: what must be there need not come first.
    const { status, stdout, stderr, error } = spawnSync('sh', ['-c', 'LC_ALL=C grep -aoFf "$1" | LC_ALL=C sort -u; exit 0', 'sh', file], { input: text, encoding: 'utf8', maxBuffer: 1 << 26 });
    if (error || status !== 0 || stderr) throw error ?? new Error(`grep: ${stderr}`);
    return stdout.split('\n').filter(Boolean);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

let reporting = false;

/** Has what was searched reported at the end, once there is a log. A process that is killed leaves a report that says so. */
function reports() {
  if (!REPORTS || reporting) return;
  reporting = true;
  const file = path.basename(process.argv[1] ?? '');
  const report = (told) => writeFileSync(path.join(REPORTS, `${file}-${process.pid}.json`), JSON.stringify({ file, logs: [], canaries: {}, hits: [], spoken: [], ...told }));
  report({ killed: true });
  process.on('exit', () => {
    const canaries = {};
    for (const kind of secrets.values()) canaries[kind] = (canaries[kind] ?? 0) + 1;
    report({ logs: logs.map(({ kind, name, bytes, searched }) => ({ kind, name, bytes, searched: Boolean(searched) })), canaries, hits, spoken: [...spoken] });
  });
}
