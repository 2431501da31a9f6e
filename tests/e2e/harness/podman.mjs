// A real Podman for a test, which answers as a Docker Engine does, with data of its own.
import { execFileSync, spawn } from 'node:child_process';
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Engine, IMAGE } from './engine.mjs';
import { eventually } from './eventually.mjs';
import { ARTEFACTS } from './gateway.mjs';
import { orderly } from './hygiene.mjs';

/** What it needs where nothing of systemd is. Its own limits would be above those of a small machine. */
const CONFIG = `[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=30000:30000"]
`;

export class Podman extends Engine {
  static async start(t) {
    orderly(t);
    const podman = new Podman();
    podman.directory = mkdtempSync('/tmp/pp-');
    podman.socket = path.join(podman.directory, 'podman.sock');
    writeFileSync(path.join(podman.directory, 'containers.conf'), CONFIG);
    await podman.run();
    t.after(() => podman.end());
    execFileSync(path.resolve(import.meta.dirname, '../../docker/image'), [IMAGE, podman.host], { stdio: ['ignore', 'ignore', 'pipe'] });
    return podman;
  }

  get #flags() {
    const at = (name) => path.join(this.directory, name);
    return ['--root', at('root'), '--runroot', at('run'), '--tmpdir', at('tmp'), '--network-config-dir', at('networks'), '--storage-driver', 'overlay'];
  }

  get #environment() {
    return { ...process.env, CONTAINERS_CONF: path.join(this.directory, 'containers.conf') };
  }

  /** Starts the service, or starts it again. Containers run on without it. */
  async run() {
    mkdirSync(ARTEFACTS, { recursive: true });
    const log = createWriteStream(path.join(ARTEFACTS, 'podman.log'), { flags: 'a' });
    this.process = spawn('podman', [...this.#flags, 'system', 'service', '--time=0', this.host], { stdio: ['ignore', 'pipe', 'pipe'], env: this.#environment });
    this.exited = new Promise((done) => this.process.on('exit', done));
    this.process.stdout.pipe(log);
    this.process.stderr.pipe(log);
    await eventually('podman answers', () => this.docker('version'));
  }

  async end() {
    if (existsSync(this.socket)) this.listen();
    if (existsSync(this.socket)) await this.halt();
    const podman = (...arguments_) => execFileSync('podman', [...this.#flags, ...arguments_], { env: this.#environment, stdio: ['ignore', 'ignore', 'pipe'] });
    podman('rm', '--all', '--force', '--time', '0');
    podman('network', 'prune', '--force');
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}
