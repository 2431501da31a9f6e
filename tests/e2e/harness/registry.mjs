// A registry of images, as engines pull from (https://distribution.github.io/distribution/spec/api/): what an engine has, given out again.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { gzipSync } from 'node:zlib';

const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
const CONFIG = 'application/vnd.docker.container.image.v1+json';
const LAYER = 'application/vnd.docker.image.rootfs.diff.tar.gzip';

export class Registry {
  /** Manifests by `NAME/TAG` and by digest, blobs by digest. */
  #manifests = new Map();
  #blobs = new Map();
  #gate = Promise.resolve();
  open = () => {};

  /** Starts one that is open. */
  static async start(t) {
    const registry = new Registry();
    const server = http.createServer((incoming, outgoing) => registry.#answer(incoming, outgoing).catch(() => outgoing.destroy()));
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    registry.host = `127.0.0.1:${server.address().port}`;
    t.after(() => {
      registry.open();
      server.closeAllConnections();
      server.close();
    });
    return registry;
  }

  /** From now on no layer comes further than half before `open` is called. */
  close() {
    const { promise, resolve } = Promise.withResolvers();
    [this.#gate, this.open] = [promise, resolve];
  }

  /** Takes an image away from an engine and offers it here; returns by what name. */
  take(engine, image, name) {
    const directory = mkdtempSync('/tmp/pi-');
    try {
      execFileSync('sh', ['-c', `docker -H ${engine.host} save ${image} | tar -x -C ${directory}`], { stdio: ['ignore', 'ignore', 'pipe'] });
      engine.docker('rmi', image);
      const read = (file) => readFileSync(path.join(directory, file));
      const [{ Config, Layers }] = JSON.parse(read('manifest.json'));
      const layers = Layers.map((file) => this.#keep(LAYER, gzipSync(read(file), { level: 1 })));
      const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST, config: this.#keep(CONFIG, read(Config)), layers }));
      this.#manifests.set(`${name}/latest`, manifest).set(digestOf(manifest), manifest);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
    return `${this.host}/${name}:latest`;
  }

  #keep(mediaType, blob) {
    const digest = digestOf(blob);
    this.#blobs.set(digest, { blob, isHeld: mediaType === LAYER });
    return { mediaType, size: blob.length, digest };
  }

  async #answer(incoming, outgoing) {
    const [, name, kind, reference] = incoming.url.match(/^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/) ?? [];
    const manifest = kind === 'manifests' && (this.#manifests.get(`${name}/${reference}`) ?? this.#manifests.get(reference));
    const { blob, isHeld } = (kind === 'blobs' && this.#blobs.get(reference)) || { blob: manifest };
    if (incoming.url === '/v2/') return outgoing.writeHead(200, { 'docker-distribution-api-version': 'registry/2.0' }).end();
    if (!blob) return outgoing.writeHead(404).end();
    const head = { 'content-length': blob.length, 'content-type': manifest ? MANIFEST : 'application/octet-stream', 'docker-content-digest': digestOf(blob) };
    outgoing.writeHead(200, head);
    if (incoming.method === 'HEAD') return outgoing.end();
    if (isHeld) {
      outgoing.write(blob.subarray(0, blob.length / 2));
      await this.#gate;
    }
    outgoing.end(isHeld ? blob.subarray(blob.length / 2) : blob);
  }
}

const digestOf = (bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
