// What a repository's Dockerfile runs: no further than a codespace reaches, within its bounds, and leaving nothing behind.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { Engine, IMAGE, world } from './harness/engine.mjs';
import { eventually } from './harness/eventually.mjs';
import { Gateway } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

const METADATA = '169.254.169.254';
const PROBE = readFileSync(path.join(import.meta.dirname, 'fixtures/probe.py'), 'utf8');

/** Answers HTTP and writes down every datagram, at the ports that it is given. */
const NEIGHBOUR = `import http.server, socket, sys, threading
heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
heard.bind(('0.0.0.0', int(sys.argv[2])))
def listen():
    while True:
        said = heard.recv(100)
        with open('/tmp/heard', 'ab') as file: file.write(said + b'\\n')
threading.Thread(target=listen, daemon=True).start()
http.server.HTTPServer(('0.0.0.0', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
`;

const config = (engine, more) => `runtime = "docker"
[docker]
socket = "${engine.socket}"
image = "${IMAGE}"
builds = true
memory = "512MiB"
processes = 128
${more}
`;

const devcontainer = '{ "build": { "dockerfile": "Dockerfile" } }';

/** Waits until a codespace's container is made as its repository says, or is the one for recovery, and all steps are over. */
const settled = (gateway, token, name) =>
  eventually(`${name} is made`, async () => {
    const codespace = await gateway.call(token, 'GET', `/codespaces/${name}`);
    const image = codespace.steps.find((step) => step.name === 'image')?.state;
    const over = codespace.steps.every((step) => ['done', 'skipped', 'failed'].includes(step.state));
    return codespace.state === 'running' && codespace.connected && over && (image === 'done' || codespace.recovery) && codespace;
  }, { seconds: 180 });

/** Gives this machine an address for as long as the test runs, so that something is there that must not be reached. */
function address(t, given) {
  if (readFileSync('/proc/net/fib_trie', 'utf8').includes(`|-- ${given}\n`)) return;
  execFileSync('ip', ['address', 'add', `${given}/32`, 'dev', 'lo']);
  t.after(() => execFileSync('ip', ['address', 'del', `${given}/32`, 'dev', 'lo']));
}

test('what a Dockerfile runs is fenced and bounded', async (t) => {
  const engine = await Engine.start(t);
  const gateway = await Gateway.start(t, { editor: false, config: config(engine, 'build_cache = "0s"\nbuild_disk = "256MiB"') });
  const outside = world(t);
  address(t, METADATA);
  const heard = [];
  const datagrams = dgram.createSocket('udp4').on('message', (message) => heard.push(message.toString()));
  datagrams.bind(0, '0.0.0.0');
  await once(datagrams, 'listening');
  const udp = datagrams.address().port;
  const packages = http.createServer((_, response) => response.end('a package')).listen(0, '0.0.0.0');
  await once(packages, 'listening');
  const tcp = packages.address().port;
  t.after(() => {
    datagrams.close();
    packages.close();
  });

  const ada = await gateway.user('ada', { admin: true });
  const bob = await gateway.user('bob');
  const repositories = { plain: repository(t, { 'neighbour.py': NEIGHBOUR }) };
  const git = await serveRepositories(t, repositories, outside);
  const inside = async (name, command, user = ada) => (await gateway.exec(user.token, name, ['bash', '-c', command])).stdout.trim();
  const made = async (which) => {
    const { name } = await gateway.call(ada.token, 'POST', '/codespaces', { repository: `${git}/${which}` });
    return settled(gateway, ada.token, name);
  };
  const log = async (name) => (await gateway.api(ada.token, 'GET', `/codespaces/${name}/logs`)).text;

  const other = await gateway.codespace(bob.token, `${git}/plain`, { editor: false });
  await gateway.serveInside(bob.token, other.name, ['python3', 'neighbour.py', String(tcp), String(udp)], tcp);
  const container = engine.names('container').find((found) => found.endsWith(other.name));
  const neighbour = engine.docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', container);

  let built;
  await t.test('by sockets and past them it reaches the world alone', async () => {
    const dockerfile = `FROM ${IMAGE}
USER root
COPY probe.py /
RUN python3 /probe.py ${outside} ${neighbour} ${tcp} ${udp} | tee /probed
RUN python3 -c 'bytearray(2 * 1024 ** 3)'; echo $? > /hungry
USER dev
`;
    repositories.probing = repository(t, { '.devcontainer.json': devcontainer, Dockerfile: dockerfile, 'probe.py': PROBE });
    built = await made('probing');
    assert.equal(built.recovery, null, await log(built.name));
    const probed = JSON.parse(await inside(built.name, 'cat /probed'));
    assert.deepEqual(probed.reached, { plain: ['world'], bound: ['world'] });
    await eventually('a frame for the world arrives', () => heard.includes('world'));
    assert.deepEqual(heard, ['world'], 'and no other');
    assert.equal(await inside(other.name, 'cat /tmp/heard 2>/dev/null || echo nothing', bob), 'nothing');
    assert.ok(probed.processes > 0 && probed.processes < 128, `${probed.processes} processes`);
    assert.equal(await inside(built.name, 'cat /hungry'), '137', 'memory is bounded');
  });

  await t.test('what held its network is gone, and its layers are known', async () => {
    const containers = engine.docker('ps', '-a', '--format', '{{.Names}}').split('\n');
    assert.deepEqual(containers.filter((found) => ![built.name, other.name].some((name) => found.endsWith(name))), []);
    const [image] = engine.docker('images', '-q', '--filter', `label=portico.codespace=${built.name}`).split('\n');
    assert.match(engine.docker('inspect', '-f', '{{json .Config.Labels}}', image), /"portico\.layer":"[0-9a-f]{8}"/);
  });

  await t.test('the next codespace of the repository, of whomever, is made of the same layers', async () => {
    const { name } = await gateway.call(bob.token, 'POST', '/codespaces', { repository: `${git}/probing` });
    const { recovery } = await settled(gateway, bob.token, name);
    assert.equal(recovery, null);
    // Written anew, each would have another time in it.
    const image = (of) => engine.docker('images', '-q', '--filter', `label=portico.codespace=${of}`).split('\n')[0];
    const layers = (of) => engine.docker('inspect', '-f', '{{json .RootFS.Layers}}', image(of));
    assert.deepEqual(JSON.parse(layers(name)), JSON.parse(layers(built.name)));
    assert.ok((await gateway.api(bob.token, 'GET', `/codespaces/${name}/logs`)).text.includes('Using cache'));
    await gateway.call(bob.token, 'DELETE', `/codespaces/${name}?force=true`);
  });

  await t.test('a build that fails leaves no layers and no containers', async () => {
    const dockerfile = `FROM ${IMAGE} AS first\nRUN touch /tmp/left\nFROM first\nRUN touch /tmp/more && exit 7\n`;
    repositories.failing = repository(t, { '.devcontainer.json': devcontainer, Dockerfile: dockerfile });
    const failed = await made('failing');
    assert.match(failed.recovery, /code: 7/);
    const containers = engine.docker('ps', '-a', '--format', '{{.Names}}').split('\n');
    assert.deepEqual(containers.filter((found) => ![built, other, failed].some(({ name }) => found.endsWith(name))), []);
    await eventually('its layers are gone', () => engine.docker('images', '-q', '--filter', 'dangling=true') === '');
  });

  await t.test('a build that takes too much disk is ended, and leaves nothing of it', async () => {
    const files = {
      // Over before anybody looks, in layers; and one that writes, and goes on.
      growing: `FROM ${IMAGE}\nRUN head -c 150M /dev/zero > /tmp/one\nRUN head -c 150M /dev/zero > /tmp/two\n`,
      filling: `FROM ${IMAGE}\nRUN head -c 300M /dev/zero > /tmp/big; while true; do sleep 1; done\n`,
      // What is in a volume is not seen.
      hiding: `FROM ${IMAGE}\nVOLUME /hidden\nRUN while true; do sleep 1; done\n`,
    };
    for (const [which, dockerfile] of Object.entries(files)) {
      repositories[which] = repository(t, { '.devcontainer.json': devcontainer, Dockerfile: dockerfile });
      const { name, recovery } = await made(which);
      assert.match(recovery ?? '', which === 'hiding' ? /the volume \/hidden, which cannot be bounded/ : /took more than 256 MiB of disk/, `${which}: ${await log(name)}`);
      await gateway.call(ada.token, 'DELETE', `/codespaces/${name}?force=true`);
    }
    await eventually('its layers are gone', () => engine.docker('images', '-q', '--filter', 'dangling=true') === '');
  });

  await t.test('a build that prints without end is ended', async () => {
    repositories.talking = repository(t, { '.devcontainer.json': devcontainer, Dockerfile: `FROM ${IMAGE}\nRUN while true; do seq 100000; done\n` });
    const ended = await made('talking');
    assert.match(ended.recovery, /printed more than 64 MiB/);
    await eventually('its step is gone', () => engine.docker('ps', '-q').split('\n').length === engine.names('container').length);
  });
});

test('nothing of an image runs in the place of the agent, whose wait is for the fence', async (t) => {
  const engine = await Engine.start(t);
  const gateway = await Gateway.start(t, { editor: false, config: config(engine, '') });
  const ada = await gateway.user('ada', { admin: true });
  // Links lead a volume to where the agent is, and the volume begins with what the image has there.
  const hiding = `FROM ${IMAGE}
USER root
RUN mkdir -p /a/b/c/d /portico && ln -s /a/b/c/d /portico/bin
RUN printf '#!/bin/sh\\necho ran > /a/b/c/d/ran; exec sleep 1000\\n' > /a/b/c/d/portico && chmod 755 /a/b/c/d/portico
`;
  const volume = '{ "build": { "dockerfile": "Dockerfile" }, "mounts": ["source=deep,target=/a/b/c/d,type=volume"] }';
  const repositories = {
    hiding: repository(t, { '.devcontainer.json': volume, Dockerfile: hiding }),
    deep: repository(t, { '.devcontainer.json': devcontainer, Dockerfile: `FROM ${IMAGE}\nVOLUME /1/2/3/4/5/6/7/8/9/10\n` }),
  };
  const git = await serveRepositories(t, repositories, world(t));
  const create = async (which) => (await gateway.call(ada.token, 'POST', '/codespaces', { repository: `${git}/${which}` })).name;
  const { name, recovery } = await settled(gateway, ada.token, await create('hiding'));
  assert.equal(recovery, null);
  assert.equal((await gateway.exec(ada.token, name, ['bash', '-c', 'ls -A /a/b/c/d'])).stdout.trim(), 'portico', 'it is there, and never ran');
  const deep = await settled(gateway, ada.token, await create('deep'));
  assert.match(deep.recovery ?? '', /volume at \/1\/2\/3\/4\/5\/6\/7\/8\/9\/10, which is too deep/, 'what could hide it all the same is refused');
});

test('builds that fail one after another leave no more than one may take', async (t) => {
  const engine = await Engine.start(t);
  const gateway = await Gateway.start(t, { editor: false, config: config(engine, 'build_cache = "1d"\nbuild_disk = "256MiB"') });
  const ada = await gateway.user('ada', { admin: true });
  const dockerfile = (which) => `FROM ${IMAGE}\nRUN head -c 100M /dev/zero > /tmp/${which}\nRUN exit 7\n`;
  const failing = (which) => repository(t, { '.devcontainer.json': devcontainer, Dockerfile: dockerfile(which) });
  const git = await serveRepositories(t, { one: failing('one'), two: failing('two'), three: failing('three') }, world(t));
  const left = () => engine.docker('images', '-q', '--filter', 'dangling=true').split('\n').filter(Boolean).length;
  const fails = async (which) => {
    const { name } = await gateway.call(ada.token, 'POST', '/codespaces', { repository: `${git}/${which}` });
    assert.match((await settled(gateway, ada.token, name)).recovery, /code: 7/);
  };
  await fails('one');
  await fails('two');
  assert.equal(left(), 2, 'the next build begins where they end');
  await fails('three');
  await eventually('that is too much', () => left() === 0);
});

test('repositories name the images that the operator allows', async (t) => {
  const engine = await Engine.start(t);
  engine.docker('tag', IMAGE, 'somebody-elses:latest');
  const gateway = await Gateway.start(t, { editor: false, config: config(engine, 'images = ["debian", "ghcr.io"]') });
  const ada = await gateway.user('ada', { admin: true });
  const repositories = {
    pulling: repository(t, { '.devcontainer.json': '{ "image": "somebody-elses" }' }),
    building: repository(t, { '.devcontainer.json': devcontainer, Dockerfile: 'FROM somebody-elses\n' }),
    taking: repository(t, { '.devcontainer.json': devcontainer, Dockerfile: `FROM ${IMAGE}\nCOPY --from=somebody-elses /etc/passwd /stolen\n` }),
    usual: repository(t, { '.devcontainer.json': devcontainer, Dockerfile: `FROM ${IMAGE}\nRUN touch /tmp/built\n` }),
  };
  const git = await serveRepositories(t, repositories, world(t));
  const recovery = async (name) => {
    const { name: codespace } = await gateway.call(ada.token, 'POST', '/codespaces', { repository: `${git}/${name}` });
    return (await settled(gateway, ada.token, codespace)).recovery;
  };
  for (const name of ['pulling', 'building', 'taking']) assert.match(await recovery(name), /image somebody-elses.* is not among those that this gateway's operator allows/, name);
  assert.equal(await recovery('usual'), null, 'the operator\'s own image always is');
});

test('what a build prints is seen while it runs', async (t) => {
  const engine = await Engine.start(t);
  const gateway = await Gateway.start(t, { editor: false, config: config(engine, '') });
  const outside = world(t);
  const asked = Promise.withResolvers();
  const slow = http.createServer((_, response) => asked.resolve(response)).listen(0, outside);
  await once(slow, 'listening');
  t.after(() => {
    slow.closeAllConnections();
    slow.close();
  });
  const waits = `python3 -c "import urllib.request; urllib.request.urlopen('http://${outside}:${slow.address().port}').read()"`;
  const dockerfile = `FROM ${IMAGE}\nRUN echo "it is $((40 + 2))"; ${waits}\n`;
  const git = await serveRepositories(t, { slow: repository(t, { '.devcontainer.json': devcontainer, Dockerfile: dockerfile }) }, outside);
  const ada = await gateway.user('ada', { admin: true });
  const { person, shot } = await browser(t);
  const page = await (await person()).newPage();
  await signIn(page, gateway, ada);
  const { name } = await gateway.call(ada.token, 'POST', '/codespaces', { repository: `${git}/slow` });
  await page.goto(`${gateway.origin}/codespaces/${name}`);
  const answer = await asked.promise;

  // Its command waits for an answer of this test's, and none comes before all of this was seen.
  const step = async () => (await gateway.call(ada.token, 'GET', `/codespaces/${name}`)).steps.find((one) => one.name === 'image');
  const told = await eventually('the step is told', async () => ((now) => /^Step \d+\/\d+ : RUN echo/.test(now.detail) && now)(await step()));
  assert.equal(told.state, 'running');
  await eventually('its output is in the log', async () => (await gateway.api(ada.token, 'GET', `/codespaces/${name}/logs`)).text.includes('it is 42'));
  await page.locator('[data-step=image][data-state=running]').filter({ hasText: /Step \d+\/\d+ : RUN echo/ }).waitFor();
  await page.getByRole('tab', { name: 'Log' }).click();
  await page.getByTestId('log').filter({ hasText: 'it is 42' }).waitFor();
  await shot(page, 'docker-build-live');
  assert.equal((await step()).state, 'running');
  answer.end('go on');
  assert.equal((await settled(gateway, ada.token, name)).recovery, null);
  // The agent of the container before this one told which branch it is.
  assert.equal((await gateway.call(ada.token, 'POST', '/codespaces', { repository: `${git}/slow`, ref: 'main' })).name, name);
  await gateway.keepCookies(page.context());
});
