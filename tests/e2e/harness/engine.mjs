// A real container engine for a test, started by hand with data of its own, and an image of this machine's programs.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { appendFileSync, copyFileSync, createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { eventually } from './eventually.mjs';
import { ARTEFACTS } from './gateway.mjs';
import { Log, orderly } from './hygiene.mjs';

/** The image of tests. */
export const IMAGE = 'portico-test:latest';

/** An address of this machine that stands for the rest of the world: containers get there through their gateway. */
const WORLD = '10.99.0.1';

/** What a kernel without nftables says to whoever asks for it: sockets of that family (AF_NETLINK, NETLINK_NETFILTER) cannot be had. */
const WITHOUT_NFTABLES = {
  defaultAction: 'SCMP_ACT_ALLOW',
  syscalls: [{ names: ['socket'], action: 'SCMP_ACT_ERRNO', args: [[0, 16], [2, 12]].map(([index, value]) => ({ index, value, op: 'SCMP_CMP_EQ' })) }],
};

export class Engine {
  /** Starts one, with a disk of its own of so many MiB if asked, and with containers that see a kernel without nftables. */
  static async start(t, { disk, nftables = true } = {}) {
    orderly(t);
    const engine = new Engine();
    engine.directory = mkdtempSync('/tmp/pd-');
    engine.socket = path.join(engine.directory, 'docker.sock');
    engine.flags = nftables ? [] : ['--seccomp-profile', engine.#file('seccomp.json', JSON.stringify(WITHOUT_NFTABLES))];
    if (disk) engine.#mount(disk);
    await engine.run();
    t.after(() => engine.end());
    execFileSync(path.resolve(import.meta.dirname, '../../docker/image'), [IMAGE, engine.host], { stdio: ['ignore', 'ignore', 'pipe'] });
    return engine;
  }

  get host() {
    return `unix://${this.socket}`;
  }

  /** Starts the process, or starts it again. Containers that ran end with it, as they do by default. */
  async run() {
    const at = (name) => path.join(this.directory, name);
    const flags = ['--data-root', at('data'), '--exec-root', at('exec'), '--pidfile', at('pid'), '-H', this.host, '--bridge', 'none', ...this.flags];
    mkdirSync(ARTEFACTS, { recursive: true });
    const log = createWriteStream(path.join(ARTEFACTS, 'engine.log'), { flags: 'a' });
    this.process = spawn('dockerd', flags, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.exited = new Promise((done) => this.process.on('exit', done));
    this.process.stdout.pipe(log);
    this.process.stderr.pipe(log);
    await eventually('the engine answers', () => this.docker('version'));
  }

  /** Ends the process as an operator does. */
  async halt() {
    this.process.kill('SIGTERM');
    await this.exited;
  }

  /** Ends the process at once, as a fault does, with what it needs to run containers; those run on. */
  async kill9() {
    this.process.kill('SIGKILL');
    await this.exited;
    // The next one would take what died with this one for alive, until somebody buries it.
    rmSync(path.join(this.directory, 'exec/containerd/containerd.pid'), { force: true });
  }

  /** Runs `docker …` and returns what it prints. */
  docker(...arguments_) {
    return execFileSync('docker', ['-H', this.host, ...arguments_], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
  }

  /** The names of what the engine has of a kind, for instance `container` or `volume`. */
  names(kind) {
    const format = kind === 'container' ? '{{.Names}}' : '{{.Name}}';
    const all = kind === 'container' ? ['-a'] : [];
    return this.docker(kind, 'ls', ...all, '--filter', 'label=portico.codespace', '--format', format).split('\n').filter(Boolean);
  }

  /** Takes away what is left and ends the process, whatever happens: one that stays keeps the test's own process. */
  async end() {
    try {
      // A gateway that still runs may start a container again in between.
      if (existsSync(this.socket)) {
        this.listen();
        await eventually('the engine lets go of everything', () => {
          this.clear();
          return true;
        });
      }
    } finally {
      await this.halt();
      this.#unmount();
      rmSync(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    }
  }

  /** Takes the logs of the agents that are containers still. */
  listen() {
    for (const name of this.names('container')) {
      const { status, stdout, stderr } = spawnSync('docker', ['-H', this.host, 'logs', name], { encoding: 'utf8', maxBuffer: 1 << 29 });
      // What only helps one to start may end in between.
      if (status !== 0 && /No such container/.test(stderr)) continue;
      if (status !== 0) throw new Error(`docker logs ${name}: ${stderr}`);
      const text = `${stdout}${stderr}`;
      // Beside an agent stand containers that only keep its network, and the services of a Compose file.
      if (text) Object.assign(new Log('agent', name), { text, closed: true, starts: / the agent runs /.test(text) ? 1 : 0 });
    }
  }

  #file(name, text) {
    const file = path.join(this.directory, name);
    writeFileSync(file, text);
    return file;
  }

  /** Gives it a disk of its own, in this machine's memory. */
  #mount(mebibytes) {
    const at = path.join(this.directory, 'data');
    mkdirSync(at);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=0711`, 'tmpfs', at], { stdio: ['ignore', 'ignore', 'pipe'] });
  }

  /** Fills the disk that it was given to the last byte; gives what frees it again. */
  fill() {
    const at = path.join(this.directory, 'data');
    const { bavail, bsize } = statfsSync(at);
    const filling = path.join(at, 'filling');
    execFileSync('fallocate', ['-l', String(Math.max(1, bavail - 256) * bsize), filling]);
    try {
      for (;;) appendFileSync(filling, Buffer.alloc(bsize));
    } catch (error) {
      if (error.code !== 'ENOSPC') throw error;
    }
    return () => rmSync(filling);
  }

  /** Takes away what one that was killed left mounted, and its disk. */
  #unmount() {
    const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n').map((line) => line.split(' ')[1] ?? '');
    for (const mount of mounts.filter((mount) => mount.startsWith(`${this.directory}/`)).reverse()) spawnSync('umount', ['-l', mount]);
  }

  clear() {
    const left = this.docker('ps', '-aq').split('\n').filter(Boolean);
    if (left.length) this.docker('rm', '-f', ...left);
    const networks = this.docker('network', 'ls', '-q', '--filter', 'label=portico.codespace').split('\n').filter(Boolean);
    if (networks.length) this.docker('network', 'rm', ...networks);
  }
}

/** Makes an image without a shell, without a C library, with nothing but one file. */
export function bareImage(t, engine) {
  return imported(t, engine, 'portico-bare:latest', (at) => writeFileSync(at('only'), 'this\n'));
}

/** Makes an image as small distributions have it: BusyBox, and musl for a C library. */
export function muslImage(t, engine) {
  return imported(t, engine, 'portico-musl:latest', (at) => {
    for (const directory of ['bin', 'lib', 'etc', 'root', 'tmp']) mkdirSync(at(directory));
    copyFileSync('/bin/busybox', at('bin/busybox'));
    for (const name of execFileSync('/bin/busybox', ['--list'], { encoding: 'utf8' }).split('\n').filter((name) => name && name !== 'busybox')) {
      symlinkSync('busybox', at(path.join('bin', name)));
    }
    copyFileSync('/lib/ld-musl-x86_64.so.1', at('lib/ld-musl-x86_64.so.1'));
    writeFileSync(at('etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
    writeFileSync(at('etc/group'), 'root:x:0:\n');
  });
}

/** Makes an image that is small as it travels, and large once it is there. */
export function swollenImage(t, engine, mebibytes) {
  return imported(t, engine, 'portico-swollen:latest', (at) => writeFileSync(at('zeros'), Buffer.alloc(mebibytes << 20)));
}

function imported(t, engine, name, fill) {
  const root = mkdtempSync('/tmp/pb-');
  t.after(() => rmSync(root, { recursive: true, force: true }));
  fill((file) => path.join(root, file));
  execFileSync('sh', ['-c', `tar -C ${root} -cf - . | docker -H ${engine.host} import - ${name}`], { stdio: ['ignore', 'ignore', 'pipe'] });
  return name;
}

/** Gives this machine the address that stands for the rest of the world, until the test ends. */
export function world(t) {
  const has = readFileSync('/proc/net/fib_trie', 'utf8').includes(WORLD);
  if (!has) {
    execFileSync('ip', ['address', 'add', `${WORLD}/32`, 'dev', 'lo']);
    t.after(() => execFileSync('ip', ['address', 'del', `${WORLD}/32`, 'dev', 'lo']));
  }
  return WORLD;
}
