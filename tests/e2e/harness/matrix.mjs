// The world of the two matrices: a victim with a codespace, an attacker with another, and apps that write down what they get.
import { appendFileSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { browser } from './browser.mjs';
import { eventually } from './eventually.mjs';
import { Gateway, freePort } from './gateway.mjs';
import { repository, serveRepositories } from './repositories.mjs';

const APP = path.resolve(import.meta.dirname, '../fixtures/matrix.mjs');

/** An app behind a port. */
export class App {
  constructor(gateway, codespace, port, word) {
    Object.assign(this, { gateway, codespace, port, word, file: path.join(gateway.data, `app-${port}.jsonl`) });
    appendFileSync(this.file, '');
  }

  static async start(gateway, token, codespace, word, visibility = 'private') {
    const app = new App(gateway, codespace, await freePort(), word);
    await gateway.serveInside(token, codespace, [process.execPath, APP, `${app.port}`, app.file, word], app.port);
    if (visibility !== 'private') await gateway.call(token, 'PATCH', `/codespaces/${codespace}/ports/${app.port}`, { visibility });
    return app;
  }

  get host() {
    return this.gateway.hostOf(this.codespace, this.port);
  }

  get origin() {
    return `${this.gateway.scheme}://${this.host}`;
  }

  /** The requests that reached it and hold a text in their target. */
  seen(tag) {
    return readFileSync(this.file, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line)).filter(({ url }) => url.includes(tag));
  }
}

let marks = 0;

/** The access log's records of what has ended by now. */
export async function records(gateway) {
  const mark = `/mark-${(marks += 1)}`;
  await gateway.request({ path: mark });
  await eventually('the log is written', () => gateway.output.includes(mark));
  const log = gateway.output.split('\n').filter((line) => line.includes('portico::access'));
  return log.flatMap((line) => {
    try {
      return [JSON.parse(line)];
    } catch {
      return [];
    }
  });
}

/** Starts a gateway, people, a browser; `people` by name, the first an admin. */
export async function world(t, { tls = false, editor = true, people = ['ada'], config = '' } = {}) {
  const gateway = await Gateway.start(t, { tls, editor, config: `[log]\nformat = "json"\n${config}` });
  const accounts = {};
  for (const name of people) accounts[name] = await gateway.user(name, { admin: name === people[0] });
  const git = await serveRepositories(t, { project: repository(t) });
  const codespace = async (who, more = {}) => (await gateway.codespace(accounts[who].token, `${git}/project`, { editor, ...more })).name;
  return { gateway, accounts, codespace, ...(await browser(t, { authority: gateway.authority })) };
}

/** Opens an address as a person does, and returns when the page itself is there, whatever lies on the way. */
export async function visit(page, url) {
  await page.goto(url, { waitUntil: 'commit' });
  await page.waitForURL(url);
}
