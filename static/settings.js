// What belongs to a person: password, tokens, sign-ins.

import { useTitle } from "./hooks.js";
import { ago, attempt, CopyButton, Icon, leave, Message, toast } from "./parts.js";
import { GitServers, Personal, Secrets, Trust } from "./personal.js";
import { html, useEffect, useState } from "./vendor/preact.js";

export function Settings({ call, user, reload }) {
  useTitle("Settings");
  if (!user) return html`<p class="quiet" role="status">Loading…</p>`;
  return html`<div class="narrow">
    <h1 tabindex="-1">Settings</h1>
    <p class="quiet">Signed in as <strong>${user.name}</strong>${user.role === "admin" && ", an administrator"}.</p>
    <${Account} ...${{ call, user, reload }} />
    <${Trust} call=${call} />
    <${Secrets} call=${call} />
    <${GitServers} call=${call} />
    <${Personal} ...${{ call, user }} />
    <${Tokens} call=${call} />
    <${Sessions} call=${call} />
  </div>`;
}

/** The ways into the account: a password, where passwords sign in, and who one is elsewhere. */
function Account({ call, user, reload }) {
  const [elsewhere, setElsewhere] = useState();
  const load = () => attempt(async () => setElsewhere(await call("GET", "/user/identities")));
  useEffect(() => void load(), []);
  if (!elsewhere) return html`<p class="quiet" role="status">Loading…</p>`;
  return html`${elsewhere.ways.passwords && user.may_have_own_ways !== false && html`<${Password} ...${{ call, user, reload }} />`}
    ${(elsewhere.ways.providers.length > 0 || elsewhere.identities.length > 0) && html`<${Elsewhere} ...${{ call, user, elsewhere, load }} />`}`;
}

function Elsewhere({ call, user, elsewhere, load }) {
  const { identities, organisations, ways } = elsewhere;
  const own = user.may_have_own_ways !== false;
  const [problem, setProblem] = useState();
  const link = async (provider) => {
    setProblem(undefined);
    try {
      location.assign((await call("POST", `/user/identities/${provider.id}`)).url);
    } catch (refusal) {
      setProblem(refusal);
    }
  };
  const unlink = async (identity) => {
    setProblem(undefined);
    try {
      await call("DELETE", `/user/identities/${identity.id}`);
      toast(`${identity.label} does not sign in to this account any more.`);
      load();
    } catch (refusal) {
      setProblem(refusal);
    }
  };
  return html`<section class="panel" id="identities"><h2>Who you are elsewhere</h2>
    <p class="quiet small">${own ? "Each of these signs in to this account." : "Your account belongs to the provider that made it: you sign in there, and set no password here."}${organisations.length > 0 && organisations[0] !== "everybody" && html` Your organisations: <strong>${organisations.join(", ")}</strong>.`}</p>
    ${problem && html`<${Message}>${problem.message}<//>`}
    ${identities.length > 0 && html`<ul class="lines">${identities.map((identity) => html`<li key=${identity.id} data-testid="identity">
      <div><strong>${identity.label}</strong> <span class="quiet small block">${identity.shown} · used ${ago(identity.used_at)}</span></div>
      ${(own || identities.length > 1) && html`<button type="button" class="button plain compact" onClick=${() => unlink(identity)} aria-label="Unlink ${identity.label}, ${identity.shown}" data-testid="unlink">Unlink</button>`}</li>`)}</ul>`}
    ${own && ways.providers.map((provider) => html`<button type="button" class="button" key=${provider.id} onClick=${() => link(provider)} data-testid="link-${provider.id}"><${Icon} name="plus" />Link ${provider.label}</button> `)}
  </section>`;
}

function Password({ call, user, reload }) {
  const [problem, setProblem] = useState();
  async function save(event) {
    event.preventDefault();
    const form = event.target;
    const { current, fresh } = form.elements;
    setProblem(undefined);
    try {
      await call("PUT", "/user/password", { new: fresh.value, ...(current && { current: current.value }) });
      form.reset();
      toast("Your password is set.", { tone: "good" });
      reload();
    } catch (refusal) {
      setProblem(refusal);
    }
  }
  return html`<form class="panel" onSubmit=${save} id="password">
    <h2>Password</h2>
    ${!user.has_password && html`<p class="quiet small">You have none yet. With one you can sign in again when your link is used up.</p>`}
    ${problem && html`<${Message}>${problem.message}<//>`}
    <input type="text" name="username" autocomplete="username" value=${user.name} hidden readonly />
    ${user.has_password && html`<div class="field"><label for="current">Present password</label><input class="input" id="current" name="current" type="password" autocomplete="current-password" required /></div>`}
    <div class="field"><label for="fresh">New password</label><input class="input" id="fresh" name="fresh" type="password" autocomplete="new-password" required minlength="8" data-testid="new-password" /><span class="hint">At least 8 characters.</span></div>
    <button class="button primary" type="submit" data-testid="save-password">${user.has_password ? "Change password" : "Set password"}</button>
  </form>`;
}

const SCOPES = [["all", "do everything"], ["read", "only read"], ["codespace", "use one codespace"], ["port", "open one port"]];
const EXPIRIES = [["30d", "30 days"], ["90d", "90 days"], ["365d", "a year"], ["", "no end"]];

function Tokens({ call }) {
  const [tokens, setTokens] = useState();
  const [made, setMade] = useState();
  const [kind, setKind] = useState("all");
  const [codespaces, setCodespaces] = useState();
  useEffect(() => {
    if (kind !== "all" && kind !== "read" && !codespaces) attempt(async () => setCodespaces(await call("GET", "/codespaces")));
  }, [kind]);
  const load = () => attempt(async () => setTokens(await call("GET", "/tokens")));
  useEffect(() => void load(), []);
  const create = (event) => {
    event.preventDefault();
    const form = event.target;
    const { name, expires, codespace, port } = form.elements;
    const scope = [kind, codespace?.value, port?.value].filter(Boolean).join(":");
    attempt(async () => {
      setMade(await call("POST", "/tokens", { name: name.value.trim(), scope, ...(expires.value && { expires_in: expires.value }) }));
      form.reset();
      load();
    });
  };
  const revoke = (token) => attempt(async () => {
    await call("DELETE", `/tokens/${token.id}`);
    if (made?.id === token.id) setMade(undefined);
    load();
  });
  return html`<section class="panel"><h2>Access tokens</h2>
    <p class="quiet small">For the command line and for scripts. Each acts in your name, within its scope.</p>
    ${made && html`<${Message} tone="good"><p><strong>Copy it now: it is not shown again.</strong></p><p class="secret"><code data-testid="token-secret">${made.token}</code><${CopyButton} text=${made.token} label="Copy the token" class="compact" /></p><//>`}
    ${tokens?.length > 0 && html`<ul class="lines">${tokens.map((token) => html`<li key=${token.id}>
      <div><strong>${token.name}</strong> <span class="quiet small"><span class="mono">${token.scope}</span> · ${token.expires_at ? `ends ${ago(token.expires_at)}` : "no end"} · made ${ago(token.created_at)} · ${token.last_used_at ? `used ${ago(token.last_used_at)}` : "never used"}</span></div>
      <button type="button" class="button plain compact" onClick=${() => revoke(token)} aria-label="Revoke ${token.name}">Revoke</button></li>`)}</ul>`}
    <form class="inline-form" onSubmit=${create}>
      <div class="field"><label for="token-name">Name</label><input class="input" id="token-name" name="name" required maxlength="100" placeholder="laptop" autocomplete="off" /></div>
      <div class="field"><label for="token-scope">May</label><select id="token-scope" name="scope" value=${kind} onChange=${(event) => setKind(event.target.value)} data-testid="token-scope">${SCOPES.map(([value, words]) => html`<option value=${value} selected=${value === kind}>${words}</option>`)}</select></div>
      ${["codespace", "port"].includes(kind) && html`<div class="field"><label for="token-codespace">Codespace</label><select id="token-codespace" name="codespace" required data-testid="token-codespace">${(codespaces ?? []).map(({ name }) => html`<option value=${name}>${name}</option>`)}</select></div>`}
      ${kind === "port" && html`<div class="field"><label for="token-port">Port</label><input class="input" id="token-port" name="port" type="number" min="1" max="65535" required inputmode="numeric" data-testid="token-port" /></div>`}
      <div class="field"><label for="token-expires">For</label><select id="token-expires" name="expires">${EXPIRIES.map(([value, words]) => html`<option value=${value}>${words}</option>`)}</select></div>
      <button class="button" type="submit" data-testid="create-token"><${Icon} name="plus" />Create token</button>
    </form>
  </section>`;
}

function Sessions({ call }) {
  const [sessions, setSessions] = useState();
  const load = () => attempt(async () => setSessions(await call("GET", "/sessions")));
  useEffect(() => void load(), []);
  const end = (session) => attempt(async () => {
    await call("DELETE", `/sessions/${session.id}`);
    load();
  });
  const endAll = () => attempt(async () => {
    leave(await call("POST", "/sign-out", { everywhere: true }));
  });
  return html`<section class="panel"><h2>Where you are signed in</h2>
    <ul class="lines">${(sessions ?? []).map((session) => html`<li key=${session.id}>
      <div><strong>${browserOf(session.agent)}</strong>${session.current && html` <span class="state good"><${Icon} name="check" />This browser</span>`}
        <span class="quiet small block">since ${new Date(session.created_at).toLocaleString()}${session.address && ` from ${session.address}`} · seen ${ago(session.last_seen_at)}</span></div>
      ${!session.current && html`<button type="button" class="button plain compact" onClick=${() => end(session)} aria-label="Sign out ${browserOf(session.agent)}" data-testid="end-session">Sign out</button>`}</li>`)}</ul>
    <button type="button" class="button" onClick=${endAll}>Sign out everywhere</button>
  </section>`;
}

/** A browser's name out of its User-Agent. */
function browserOf(agent) {
  const text = String(agent ?? "");
  const browser = [[/Edg\//, "Edge"], [/Firefox\//, "Firefox"], [/Chrom(e|ium)\//, "Chrome"], [/Safari\//, "Safari"], [/curl\//, "curl"]].find(([pattern]) => pattern.test(text))?.[1];
  const system = [[/Android/, "Android"], [/iPhone|iPad/, "iOS"], [/Windows/, "Windows"], [/Mac OS/, "macOS"], [/Linux/, "Linux"]].find(([pattern]) => pattern.test(text))?.[1];
  return [browser, system].filter(Boolean).join(" on ") || text || "Unknown browser";
}
