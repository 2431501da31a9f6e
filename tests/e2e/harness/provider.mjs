// A certified OpenID provider with a login page of its own: people, passwords, groups, keys that change.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import Provider from 'oidc-provider';
import { freePort } from './gateway.mjs';
import { keep, orderly } from './hygiene.mjs';

export const SECRET = 'a secret of the client';

export class Identities {
  /**
   * Starts a provider. `people` is by login: `{password, groups, claims}`, the last over what everybody has; what is undefined
   * is left out. They stand in the answer of userinfo, or in ID tokens once `inTokens` is set and it serves anew.
   */
  static async start(t, people) {
    orderly(t);
    const provider = new Identities();
    provider.people = people;
    provider.port = await freePort();
    provider.issuer = `http://id.localhost:${provider.port}`;
    t.after(() => provider.stop());
    return provider;
  }

  /** Signs with another key from now on. */
  async rotate() {
    this.key = undefined;
    await this.serve();
  }

  /** Serves, over TLS where it has a `certificate`. `redirect` is where the gateway takes people back. */
  async serve(redirect) {
    this.key ??= freshKey();
    this.redirect = redirect ?? this.redirect;
    this.provider = this.#configured(this.key);
    const answer = this.provider.callback();
    await this.stop();
    const create = this.certificate ? (listener) => https.createServer(this.certificate, listener) : http.createServer;
    this.server = create((request, response) => {
      if (request.url.startsWith('/interaction/')) this.#interact(request, response).catch((error) => response.writeHead(500).end(String(error)));
      else answer(request, response);
    });
    await new Promise((done) => this.server.listen(this.port, '127.0.0.1', done));
  }

  async stop() {
    const { server } = this;
    if (!server) return;
    this.server = undefined;
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }

  #configured(key) {
    const { people } = this;
    const account = (login) => ({
      accountId: login,
      claims: () => {
        const everybodys = { sub: login, preferred_username: login, email: `${login}@example.com`, email_verified: true, groups: people[login].groups ?? [] };
        return Object.fromEntries(Object.entries({ ...everybodys, ...people[login].claims }).filter(([, value]) => value !== undefined));
      },
    });
    const provider = new Provider(this.issuer, {
      clients: [{
        client_id: 'portico', client_secret: SECRET, redirect_uris: [this.redirect], post_logout_redirect_uris: [new URL('/sign-in', this.redirect).href],
        backchannel_logout_uri: this.redirect.replace('/callback/', '/back-channel/'), backchannel_logout_session_required: true,
      }],
      jwks: { keys: [key] },
      cookies: { keys: ['a key of the cookies'] },
      claims: { openid: ['sub'], profile: ['preferred_username'], email: ['email', 'email_verified'], groups: ['groups'] },
      scopes: ['openid', 'profile', 'email', 'groups'],
      conformIdTokenClaims: !this.inTokens,
      findAccount: (_, login) => (people[login] ? account(login) : undefined),
      interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
      features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true } },
      fetch: (url, options) => this.#tell(new URL(url), options),
      // Consent is given with the password.
      async loadExistingGrant(context) {
        const grant = new context.oidc.provider.Grant({ clientId: context.oidc.client.clientId, accountId: context.oidc.session.accountId });
        grant.addOIDCScope('openid profile email groups');
        await grant.save();
        return grant;
      },
    });
    provider.on('grant.success', ({ body, oidc }) => {
      for (const [name, value] of Object.entries({ ...body, ...oidc.params })) if (/_token$|^code_verifier$/.test(name)) keep('token of a provider', value);
    });
    return provider;
  }

  /** Posts a logout token to the gateway, whose name Node may not know. */
  async #tell(url, { method, body, headers }) {
    const logout = { at: Date.now(), body: `${body}` };
    this.logouts = [...(this.logouts ?? []), logout];
    keep('token of a provider', new URLSearchParams(logout.body).get('logout_token'));
    logout.status = await new Promise((done, fail) => {
      const host = url.host;
      const call = http.request({ host: '127.0.0.1', port: url.port, path: url.pathname, method, agent: false, headers: { ...Object.fromEntries(new Headers(headers)), host } });
      call.on('error', fail);
      call.on('response', (answer) => (answer.resume(), done(answer.statusCode)));
      call.end(logout.body);
    });
    return new Response(null, { status: logout.status });
  }

  async #interact(request, response) {
    await this.provider.interactionDetails(request, response);
    let said = '';
    if (request.method === 'POST') {
      let body = '';
      for await (const chunk of request) body += chunk;
      const form = new URLSearchParams(body);
      const login = form.get('login');
      if (form.has('cancel')) {
        return this.provider.interactionFinished(request, response, { error: 'access_denied', error_description: 'no' });
      }
      if (this.people[login]?.password === form.get('password')) {
        return this.provider.interactionFinished(request, response, { login: { accountId: login } });
      }
      said = '<p id="said">Wrong name or password</p>';
    }
    response.setHeader('content-type', 'text/html');
    response.end(`<!doctype html><title>Log in</title>${said}<form method="post"><input name="login"><input name="password" type="password"><button>Log in</button><button name="cancel" value="1">Cancel</button></form>`);
  }
}

function freshKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomBytes(6).toString('hex'), use: 'sig', alg: 'RS256' };
}

/** Does what a person does on the provider's page. */
export async function logIn(page, login, password) {
  await page.locator('input[name=login]').fill(login);
  await page.locator('input[name=password]').fill(password);
  await page.locator('button:not([name])').click();
}
