// Images that a real engine pulls from a registry: told as they come to whoever waits for them, and bounded.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { Engine, IMAGE, swollenImage, world } from './harness/engine.mjs';
import { eventually } from './harness/eventually.mjs';
import { Gateway } from './harness/gateway.mjs';
import { Registry } from './harness/registry.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

/** Nothing is fetched but for who asks, so that there is one who pulls. */
const config = (engine, image, more = 'fetch_ahead = false') => `runtime = "docker"
[docker]
socket = "${engine.socket}"
image = "${image}"
${more}
`;

/** How far an image has come, as it is told. */
const SHARE = /Getting the image \S+: Downloading, (\d+) %/;

test('images are pulled while their users watch', async (t) => {
  const engine = await Engine.start(t);
  const registry = await Registry.start(t);
  const swollen = registry.take(engine, swollenImage(t, engine, 128), 'swollen');
  const image = registry.take(engine, IMAGE, 'team/base');
  const git = await serveRepositories(t, { project: repository(t) }, world(t));
  const create = async (gateway, token) => (await gateway.call(token, 'POST', '/codespaces', { repository: `${git}/project` })).name;
  const failed = (gateway, token, name) =>
    eventually('it failed', async () => {
      const now = await gateway.call(token, 'GET', `/codespaces/${name}`);
      return now.state === 'failed' && now;
    });

  await t.test('the default one is fetched before anybody waits for it, once the engine is there', async (t) => {
    await engine.halt();
    const gateway = await Gateway.start(t, { editor: false, config: config(engine, image, '') });
    await eventually('it is told that the engine is away', () => gateway.log().includes('what is left of earlier codespaces could not be looked at'));
    await engine.run();
    await eventually('the image is there', () => engine.docker('images', '-q', image) !== '');
    await eventually('and that is told', () => gateway.log().includes('the image of codespaces is there'));
    const { token } = await gateway.user('ada', { admin: true });
    assert.deepEqual(await gateway.call(token, 'GET', '/codespaces'), []);
    engine.docker('rmi', image);
  });

  await t.test('one that is larger than it may be does not stay', async (t) => {
    const gateway = await Gateway.start(t, { editor: false, config: config(engine, image, 'fetch_ahead = false\nbuild_disk = "64MiB"') });
    const { token } = await gateway.user('ada', { admin: true });
    const { reason } = await failed(gateway, token, await create(gateway, token));
    assert.match(reason, /team\/base:latest is larger than 64 MiB, which is docker\.build_disk/);
    assert.equal(engine.docker('images', '-q', image), '');
  });

  await t.test('nor does one that is small as it travels', async (t) => {
    const gateway = await Gateway.start(t, { editor: false, config: config(engine, swollen, 'fetch_ahead = false\nbuild_disk = "64MiB"') });
    const { token } = await gateway.user('ada', { admin: true });
    const { reason } = await failed(gateway, token, await create(gateway, token));
    assert.match(reason, /swollen:latest is larger than 64 MiB/);
    assert.equal(engine.docker('images', '-q', swollen), '');
  });

  await t.test('its progress is shown, and it runs', async (t) => {
    const gateway = await Gateway.start(t, { editor: false, config: config(engine, image) });
    const ada = await gateway.user('ada', { admin: true });
    const { person, shot } = await browser(t);
    const page = await (await person()).newPage();
    await signIn(page, gateway, ada);
    registry.close();
    const name = await create(gateway, ada.token);
    await page.goto(`${gateway.origin}/codespaces/${name}`);
    // Half of it is there, and no more comes: so far it is told, to the page and to programs.
    const step = page.locator('[data-step=storage][data-state=running]');
    await step.filter({ hasText: SHARE }).waitFor();
    await shot(page, 'docker-pull');
    const told = await eventually('it is told to programs', async () => {
      const { state, steps } = await gateway.call(ada.token, 'GET', `/codespaces/${name}`);
      const share = steps.find((step) => step.name === 'storage').detail.match(SHARE)?.[1];
      return share && { state, share: Number(share) };
    });
    assert.equal(told.state, 'creating');
    assert.ok(told.share <= 50, `${told.share} % of what is held at half`);
    registry.open();
    await gateway.ready(ada.token, name, { editor: false });
    await step.waitFor({ state: 'detached' });
    const container = engine.names('container').find((found) => found.endsWith(name));
    assert.equal(engine.docker('inspect', '-f', '{{.Config.Image}}', container), image);
    assert.equal((await gateway.exec(ada.token, name, ['bash', '-c', 'echo "$GREETING"'])).stdout.trim(), 'hello');
    await gateway.keepCookies(page.context());
  });
});
