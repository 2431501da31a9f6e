// The proxies of config/ in front of a gateway: the files as they are, with this test's names, ports and certificates.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { eventually } from './eventually.mjs';
import { ARTEFACTS, freePort } from './gateway.mjs';

const CONFIG = path.resolve(import.meta.dirname, '../../../config');
const PROGRAMS = process.env.PORTICO_PROXIES;

/** What each is started from: its files, the first of which it is given, and its command line. */
const KINDS = {
  nginx: { files: ['nginx/portico.conf'], start: (directory) => ['/usr/sbin/nginx', '-e', path.join(directory, 'error.log'), '-p', directory, '-c', path.join(directory, 'nginx.conf')] },
  caddy: { files: ['caddy/Caddyfile'], start: (directory) => [program('caddy'), 'run', '--adapter', 'caddyfile', '--config', path.join(directory, 'Caddyfile')] },
  traefik: { files: ['traefik/traefik.yml', 'traefik/portico.yml'], start: (directory) => [program('traefik'), `--configFile=${path.join(directory, 'traefik.yml')}`] },
};

export const PROXIES = Object.keys(KINDS);

function program(name) {
  const file = path.join(PROGRAMS ?? '', name);
  if (!PROGRAMS || !existsSync(file)) throw new Error(`${name} is not here: run the tests through tests/run, which installs it, or name its folder in PORTICO_PROXIES`);
  return file;
}

/** Free ports for TLS and plain HTTP. */
export async function ports() {
  return { tls: await freePort(), plain: await freePort() };
}

/** Starts a proxy of a kind between `listen` and the gateway's port, and ends it with the test. */
export async function start(t, kind, { directory, listen, gateway, certificate, key }) {
  mkdirSync(path.join(directory, 'logs'), { recursive: true });
  const suited = (text) =>
    text
      .replaceAll('portico.example.com', 'portico.localhost')
      .replaceAll('example-codespaces', 'codespaces')
      .replaceAll('codespaces.net', 'codespaces.localhost')
      .replaceAll('codespaces\\\\.net', 'codespaces\\\\.localhost')
      .replaceAll('/etc/portico/portico.pem', certificate)
      .replaceAll('/etc/portico/portico.key', key)
      .replaceAll('/etc/traefik/', `${directory}/`)
      .replaceAll('127.0.0.1:8080', `127.0.0.1:${gateway}`)
      .replaceAll('listen 443', `listen 127.0.0.1:${listen.tls}`)
      .replaceAll('listen 80', `listen 127.0.0.1:${listen.plain}`)
      .replaceAll('":443"', `"127.0.0.1:${listen.tls}"`)
      .replaceAll('":80"', `"127.0.0.1:${listen.plain}"`)
      .replaceAll('to: websecure', `to: ":${listen.tls}"`);
  for (const file of KINDS[kind].files) writeFileSync(path.join(directory, path.basename(file)), suited(readFileSync(path.join(CONFIG, file), 'utf8')));
  if (kind === 'nginx') {
    writeFileSync(
      path.join(directory, 'nginx.conf'),
      `daemon off; pid ${directory}/nginx.pid; worker_processes 1; error_log ${directory}/error.log; events {}\nhttp { access_log off; client_body_temp_path ${directory}/a; proxy_temp_path ${directory}/b; fastcgi_temp_path ${directory}/c; uwsgi_temp_path ${directory}/d; scgi_temp_path ${directory}/e; include ${directory}/portico.conf; }\n`,
    );
  }
  if (kind === 'caddy') {
    const file = path.join(directory, 'Caddyfile');
    const options = `{\n\tadmin off\n\thttps_port ${listen.tls}\n\thttp_port ${listen.plain}\n\tdefault_bind 127.0.0.1\n\tstorage file_system ${directory}/storage\n}\n`;
    writeFileSync(file, options + readFileSync(file, 'utf8'));
  }
  const [command, ...arguments_] = KINDS[kind].start(directory);
  const running = spawn(command, arguments_, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, HOME: directory } });
  let said = '';
  for (const stream of [running.stdout, running.stderr]) stream.on('data', (chunk) => (said += chunk));
  const exited = new Promise((done) => running.on('exit', (code, signal) => done(code ?? signal)));
  t.after(async () => {
    running.kill('SIGTERM');
    await exited;
    writeFileSync(path.join(ARTEFACTS, `proxy-${kind}.log`), said);
  });
  await eventually(`${kind} listens`, async () => {
    if (running.exitCode !== null) throw Object.assign(new Error(`${kind} ended with ${running.exitCode}:\n${said}`), { fatal: true });
    return connects(listen.tls);
  });
}

function connects(port) {
  return new Promise((done) => {
    const socket = net.connect(port, '127.0.0.1', () => done(true));
    socket.on('error', () => done(false));
    socket.on('connect', () => socket.destroy());
  });
}
