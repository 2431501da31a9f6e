// gRPC from a real client over TLS to a real server in a codespace, and its status and trailers on the way back.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { eventually } from './harness/eventually.mjs';
import { PYTHON } from './harness/frameworks.mjs';
import { BINARY, attend, environment, freePort } from './harness/gateway.mjs';
import { keep } from './harness/hygiene.mjs';
import { repository } from './harness/repositories.mjs';

const [SERVER, CLIENT] = ['grpc_echo.py', 'grpc_client.py'].map((file) => path.resolve(import.meta.dirname, 'fixtures', file));
const MAKE_CA = path.resolve(import.meta.dirname, '../../certs/make-local-ca');

test('gRPC through the gateway', async (t) => {
  const data = mkdtempSync('/tmp/pt-');
  const ca = path.join(data, 'ca');
  execFileSync(MAKE_CA, [ca]);
  const [port, inside] = [await freePort(), await freePort()];
  const env = environment({
    ...PYTHON,
    PORTICO_DATA: data,
    PORTICO_LISTEN: `127.0.0.1:${port}`,
    PORTICO_URL: `https://portico.localhost:${port}`,
    PORTICO_TLS_CERTIFICATE: path.join(ca, 'portico.pem'),
    PORTICO_TLS_KEY: path.join(ca, 'portico.key'),
  });
  attend(t, spawn(BINARY, ['serve'], { env, stdio: ['ignore', 'pipe', 'pipe'] }), data);
  const portico = (arguments_, input) => execFileSync(BINARY, arguments_, { env, input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] }).trim();
  await eventually('the gateway is up', () => portico(['healthcheck']) !== undefined);
  portico(['user', 'create', 'ada', '--admin', '--password-stdin'], `${keep('password', 'correct horse battery')}\n`);
  const token = keep('access token', portico(['token', 'create', '--user', 'ada', '--scope', 'all']));
  const { name } = JSON.parse(portico(['codespace', 'create', repository(t), '--json']));
  await eventually('the codespace runs', () => {
    const seen = JSON.parse(portico(['codespace', 'view', name, '--json']));
    return seen.state === 'running' && seen.connected;
  });
  const server = spawn(BINARY, ['codespace', 'exec', name, '--', 'env', `PYTHONPATH=${PYTHON.PYTHONPATH}`, 'python3', SERVER, `${inside}`], { env, stdio: 'ignore' });
  t.after(() => server.kill());
  await eventually('the server listens', () => JSON.parse(portico(['ports', '-c', name, '--json'])).some((row) => row.port === inside && row.listening));

  // As plain HTTP it is found to be none, and what it is.
  const told = JSON.parse(portico(['explain', `https://${name}-${inside}.codespaces.localhost:${port}/`, '--json']));
  assert.equal(told.upstream.speaks, 'HTTP/2');
  assert.deepEqual(told.set, { protocol: 'h2c' });
  portico(['ports', 'set', `${inside}`, '--protocol', 'grpc', '-c', name]);
  const host = `${name}-${inside}.codespaces.localhost:${port}`;
  const said = execFileSync('python3', [CLIENT, `127.0.0.1:${port}`, host, path.join(ca, 'ca.pem'), token], { env, encoding: 'utf8' });
  assert.equal(said.trim(), 'well');
});
