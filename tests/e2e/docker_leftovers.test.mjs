// What is left on an engine of codespaces that the gateway does not know: removed where it holds no work, named where it may; and
// what other gateways made stays.
import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { browser, signIn } from './harness/browser.mjs';
import { Engine, IMAGE, world } from './harness/engine.mjs';
import { eventually } from './harness/eventually.mjs';
import { Gateway } from './harness/gateway.mjs';
import { repository, serveRepositories } from './harness/repositories.mjs';

const config = (engine) => `runtime = "docker"
[docker]
socket = "${engine.socket}"
image = "${IMAGE}"
builds = true
`;
const SHAPED = JSON.stringify({ build: { dockerfile: 'Dockerfile' }, mounts: ['source=cache,target=/cache,type=volume'] });

test('what is left of codespaces that are no more', async (t) => {
  const engine = await Engine.start(t);
  const repositories = { plain: repository(t), shaped: repository(t, { '.devcontainer.json': SHAPED, Dockerfile: `FROM ${IMAGE}\nRUN echo > /tmp/built\n` }) };
  const git = await serveRepositories(t, repositories, world(t));
  const [gateway, other] = await Promise.all([Gateway.start(t, { editor: false, config: config(engine) }), Gateway.start(t, { editor: false, config: config(engine) })]);
  const ada = await gateway.user('ada', { admin: true });
  const lost = await gateway.codespace(ada.token, `${git}/shaped`, { editor: false });
  await eventually('it is as its repository says', async () => (await gateway.exec(ada.token, lost.name, ['ls', '/tmp/built', '/cache'], { status: null })).status === 0);
  await gateway.exec(ada.token, lost.name, ['sh', '-c', 'echo mine > only-here.txt']);
  const eve = await other.user('eve');
  const { name: others } = await other.codespace(eve.token, `${git}/plain`, { editor: false });
  const of = (kind, name) => engine.names(kind).filter((found) => found.includes(name));
  const images = (name) => engine.docker('images', '-q', '--filter', `label=portico.codespace=${name}`).split('\n').filter(Boolean);
  assert.deepEqual([of('container', lost.name).length, of('network', lost.name).length, of('volume', lost.name).length > 0, images(lost.name).length], [1, 1, true, 1]);
  const volumes = engine.docker('volume', 'ls', '-q', '--filter', `label=portico.codespace=${lost.name}`).split('\n').sort();
  assert.equal(volumes.length, 2, 'its files, and what it mounts');
  const made = { container: of('container', others), network: of('network', others), volume: of('volume', others) };

  // Its store is begun anew, while the engine is down.
  await gateway.kill9();
  const mark = readFileSync(path.join(gateway.data, 'docker-instance'), 'utf8');
  for (const file of ['portico.db', 'portico.db-wal', 'portico.db-shm']) rmSync(path.join(gateway.data, file), { force: true });
  await engine.halt();
  await gateway.serve();
  await eventually('it is told that nobody can look', () => gateway.output.includes('what is left of earlier codespaces could not be looked at'));
  const { token, ...anna } = await gateway.user('anna', { admin: true });
  const away = await gateway.api(token, 'GET', '/left-behind');
  assert.deepEqual([away.status, away.json.type], [502, 'urn:portico:runtime']);
  await engine.run();

  await t.test('what runs, its network and its image go once the engine is there', async () => {
    await eventually('they are gone', () => [of('container', lost.name), of('network', lost.name), images(lost.name)].every((left) => left.length === 0));
    for (const [kind, names] of Object.entries(made)) assert.deepEqual(of(kind, others), names, `${kind} of another gateway`);
    assert.equal(readFileSync(path.join(gateway.data, 'docker-instance'), 'utf8'), mark);
  });

  const removals = volumes.map((volume) => `docker -H unix://${engine.socket} volume rm ${volume}`);
  await t.test('volumes stay, and are named with what removes them: in the log, by the API, on the page', async (t) => {
    const left = await gateway.call(token, 'GET', '/left-behind');
    const expected = volumes.map((name, at) => ({ kind: 'volume', name, codespace: lost.name, remove: removals[at] }));
    assert.deepEqual(left, expected);
    for (const removal of removals) await eventually('the log names it', () => gateway.output.includes(removal));
    const bob = await gateway.user('bob');
    assert.equal((await gateway.api(bob.token, 'GET', '/left-behind')).status, 403);
    const { person, shot } = await browser(t);
    const page = await (await person()).newPage();
    await signIn(page, gateway, anna);
    await page.goto(`${gateway.origin}/admin`);
    await page.getByRole('link', { name: 'Left behind' }).click();
    const rows = page.getByTestId('left-behind');
    await rows.first().waitFor();
    assert.deepEqual(await rows.locator('code').allInnerTexts(), removals);
    await shot(page, 'docker-left-behind');
    await page.setViewportSize({ width: 360, height: 740 });
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)) <= 0, 'it fits a phone');
    await gateway.keepCookies(page.context());
  });

  await t.test('the command that is named removes it', async () => {
    const held = engine.docker('run', '--rm', '-v', `${volumes.find((name) => name.endsWith(lost.name))}:/left`, IMAGE, 'sh', '-c', 'cat /left/*/only-here.txt');
    assert.equal(held, 'mine', 'it held work');
    for (const removal of removals) engine.docker(...removal.split(' ').slice(3));
    assert.deepEqual(await gateway.call(token, 'GET', '/left-behind'), []);
    assert.deepEqual(of('volume', others), made.volume);
  });
});
