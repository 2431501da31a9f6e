// What of GitHub a sign-in meets, in the shape of a company's own server: OAuth with PKCE, and the API below /api/v3.
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import { freePort } from './gateway.mjs';
import { keep, orderly } from './hygiene.mjs';

export const HUB_SECRET = 'a secret of the GitHub application';

export class GitHub {
  /** Starts it. `people` is by login: `{id, emails, organisations}`; `redirect` is where the gateway takes people back. */
  static async start(t, people) {
    orderly(t);
    const hub = new GitHub();
    hub.people = people;
    hub.port = await freePort();
    hub.site = `http://hub.localhost:${hub.port}`;
    hub.codes = new Map();
    hub.tokens = new Map();
    /** What each code was asked to be traded for, and what it was answered. */
    hub.trades = [];
    await hub.serve();
    t.after(() => hub.stop());
    return hub;
  }

  async serve() {
    this.server = http.createServer((request, response) => this.#answer(request, response).catch((error) => response.writeHead(500).end(String(error))));
    await new Promise((done) => this.server.listen(this.port, '127.0.0.1', done));
  }

  async stop() {
    const { server } = this;
    if (!server) return;
    this.server = undefined;
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }

  async #answer(request, response) {
    const url = new URL(request.url, this.site);
    let body = '';
    for await (const chunk of request) body += chunk;
    const form = new URLSearchParams(body);
    const json = (value, status = 200) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    if (url.pathname === '/login/oauth/authorize') return this.#authorize(url.searchParams, request.method === 'POST' ? form : undefined, response);
    if (url.pathname === '/login/oauth/access_token') return json(this.#trade(form));
    const login = this.tokens.get(/^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1]);
    const person = this.people[login];
    if (!person) return json({ message: 'Bad credentials' }, 401);
    const { id, emails = [], organisations = [] } = person;
    const answers = { '/api/v3/user': { id, login, type: 'User' }, '/api/v3/user/emails': emails, '/api/v3/user/orgs': organisations.map((login) => ({ login, id: 1 })) };
    return answers[url.pathname] ? json(answers[url.pathname]) : json({ message: 'Not Found' }, 404);
  }

  #authorize(query, form, response) {
    const wanted = { client_id: 'portico', redirect_uri: this.redirect, code_challenge_method: 'S256' };
    const wrong = Object.entries(wanted).find(([name, value]) => query.get(name) !== value)?.[0] ?? ['state', 'code_challenge'].find((name) => !query.get(name));
    if (wrong) return response.writeHead(400).end(`GitHub does not take this ${wrong}`);
    if (form) {
      const back = new URL(this.redirect);
      back.searchParams.set('state', query.get('state'));
      if (form.has('cancel')) back.searchParams.set('error', 'access_denied');
      else back.searchParams.set('code', this.code(form.get('login'), query.get('code_challenge')));
      return response.writeHead(302, { location: back.href }).end();
    }
    const buttons = Object.keys(this.people).map((login) => `<button name="login" value="${login}">${login}</button>`);
    response.setHeader('content-type', 'text/html');
    return response.end(`<!doctype html><title>GitHub</title><form method="post">${buttons.join('')}<button name="cancel" value="1">Cancel</button></form>`);
  }

  /** A code for somebody, as the authorization gives one. */
  code(login, challenge) {
    const code = keep('code', randomBytes(20).toString('hex'));
    this.codes.set(code, { login, challenge });
    return code;
  }

  /** GitHub refuses with status 200. */
  #trade(form) {
    const answer = this.#traded(form);
    this.trades.push({ code: form.get('code'), error: answer.error });
    return answer;
  }

  #traded(form) {
    if (form.get('client_id') !== 'portico' || form.get('client_secret') !== HUB_SECRET) return { error: 'incorrect_client_credentials' };
    if (form.get('redirect_uri') !== this.redirect) return { error: 'redirect_uri_mismatch' };
    const { login, challenge } = this.codes.get(form.get('code')) ?? {};
    this.codes.delete(form.get('code'));
    const verifier = form.get('code_verifier') ?? '';
    if (!login || createHash('sha256').update(verifier).digest('base64url') !== challenge) return { error: 'bad_verification_code', error_description: 'The code passed is incorrect or expired.' };
    const token = keep('token of a provider', `gho_${randomBytes(18).toString('hex')}`);
    keep('token of a provider', verifier);
    this.tokens.set(token, login);
    return { access_token: token, scope: 'read:user,read:org', token_type: 'bearer' };
  }
}
