// What follows a person into their codespaces: secrets, git servers, git's name, dotfiles, the editor's settings.

import { ago, attempt, Icon, Message, toast } from "./parts.js";
import { html, useEffect, useState } from "./vendor/preact.js";

/** Who can read what is kept: said before anything is typed. */
export function Trust({ call }) {
  const [settings, setSettings] = useState();
  useEffect(() => void attempt(async () => setSettings(await call("GET", "/user/settings"))), []);
  if (!settings) return null;
  return html`${settings.kept_apart === false && html`<${Message} tone="info"><p>This gateway runs codespaces as one user of its machine. The code in anybody’s codespace can read every secret and git password that is kept below. Keep here only what all who use this gateway may know, or ask its administrator for <code>runtime = "docker"</code>.</p><//>`}
    ${settings.readable === false && html`<${Message}><p>Some of what you kept cannot be decrypted: the gateway’s key was replaced. Ask its administrator to restore the key; setting something again replaces what was there.</p><//>`}`;
}

export function Secrets({ call }) {
  const [secrets, setSecrets] = useState();
  const [problem, setProblem] = useState();
  const load = () => attempt(async () => setSecrets(await call("GET", "/user/secrets")));
  useEffect(() => void load(), []);
  const save = async (event) => {
    event.preventDefault();
    const form = event.target;
    const { name, value, repository } = form.elements;
    const body = { value: value.value, ...(repository.value.trim() && { repository: repository.value.trim() }) };
    setProblem(undefined);
    try {
      await call("PUT", `/user/secrets/${encodeURIComponent(name.value.trim())}`, body);
      toast(`${name.value.trim()} is kept. What starts in your codespaces from now on has it; the editor has it after a restart.`, { tone: "good" });
      form.reset();
      load();
    } catch (refusal) {
      setProblem(refusal);
    }
  };
  const remove = (secret) => attempt(async () => {
    const query = secret.repository ? `?repository=${encodeURIComponent(secret.repository)}` : "";
    await call("DELETE", `/user/secrets/${secret.name}${query}`);
    load();
  });
  return html`<section class="panel" id="secrets"><h2>Secrets</h2>
    <p class="quiet small">Variables of everything that runs in your codespaces: terminals, the editor, hooks. They are kept encrypted and never shown again. All code in a codespace can read them, so name the repository wherever one needs them alone.</p>
    ${problem && html`<${Message}>${problem.message}<//>`}
    ${secrets?.length > 0 && html`<ul class="lines">${secrets.map((secret) => html`<li key=${`${secret.name} ${secret.repository}`} data-testid="secret">
      <div><strong class="mono">${secret.name}</strong> <span class="quiet small block wrap">${secret.repository ?? "all your codespaces"} · set ${ago(secret.updated_at)}${secret.readable === false ? " · cannot be decrypted; set it again" : ""}</span></div>
      <button type="button" class="button plain compact" onClick=${() => remove(secret)} aria-label="Delete ${secret.name}, ${secret.repository ?? "of all codespaces"}" data-testid="delete-secret">Delete</button></li>`)}</ul>`}
    <form class="inline-form" onSubmit=${save}>
      <div class="field"><label for="secret-name">Variable</label><input class="input mono" id="secret-name" name="name" required maxlength="100" pattern="[A-Za-z_][A-Za-z0-9_]*" title="Letters, digits and _, not beginning with a digit" placeholder="API_KEY" autocomplete="off" autocapitalize="off" spellcheck="false" data-testid="secret-name" /></div>
      <div class="field"><label for="secret-value">Value</label><input class="input" id="secret-value" name="value" type="password" required autocomplete="off" data-testid="secret-value" /></div>
      <div class="field"><label for="secret-repository">Only for</label><input class="input" id="secret-repository" name="repository" maxlength="2048" placeholder="a repository’s URL; all if empty" autocomplete="off" spellcheck="false" /></div>
      <button class="button" type="submit" data-testid="save-secret"><${Icon} name="plus" />Keep</button>
    </form>
    <p class="quiet small">For several lines, such as a private key: <code>portico secret set NAME ${"<"} FILE</code></p>
  </section>`;
}

export function GitServers({ call }) {
  const [servers, setServers] = useState();
  const [problem, setProblem] = useState();
  const load = () => attempt(async () => setServers(await call("GET", "/user/git-credentials")));
  useEffect(() => void load(), []);
  const save = async (event) => {
    event.preventDefault();
    const form = event.target;
    const { host, username, password, repository } = form.elements;
    setProblem(undefined);
    try {
      const kept = await call("PUT", "/user/git-credentials", { host: host.value, username: username.value.trim(), password: password.value, ...(repository.value.trim() && { repository: repository.value.trim() }) });
      toast(`git in your codespaces is ${kept.username} at ${kept.host}.`, { tone: "good" });
      form.reset();
      load();
    } catch (refusal) {
      setProblem(refusal);
    }
  };
  const remove = (server) => attempt(async () => {
    const of = server.repository ? `&repository=${encodeURIComponent(server.repository)}` : "";
    await call("DELETE", `/user/git-credentials?host=${encodeURIComponent(server.host)}${of}`);
    load();
  });
  return html`<section class="panel" id="git-servers"><h2>Git servers</h2>
    <p class="quiet small">A password or token for each git server that you push to. It is kept encrypted, and answers git for that very server alone: no token in a URL, none in a file. All code in a codespace can ask for it, so give the token few rights, and name the repository wherever one needs it alone.</p>
    ${problem && html`<${Message}>${problem.message}<//>`}
    ${servers?.length > 0 && html`<ul class="lines">${servers.map((server) => html`<li key=${`${server.host} ${server.repository}`} data-testid="git-server">
      <div><strong class="wrap">${server.host}</strong> <span class="quiet small block">${server.readable === false ? "cannot be decrypted; set it again" : server.username} · ${server.repository ?? "all your codespaces"} · set ${ago(server.updated_at)}${server.host.startsWith("http:") ? " · without encryption" : ""}</span></div>
      <button type="button" class="button plain compact" onClick=${() => remove(server)} aria-label="Delete the credential for ${server.host}, ${server.repository ?? "all codespaces"}">Delete</button></li>`)}</ul>`}
    <form class="inline-form" onSubmit=${save}>
      <div class="field"><label for="git-host">Server</label><input class="input" id="git-host" name="host" required maxlength="300" placeholder="github.com" autocomplete="off" autocapitalize="off" spellcheck="false" data-testid="git-host" /></div>
      <div class="field"><label for="git-username">User name</label><input class="input" id="git-username" name="username" required maxlength="255" autocomplete="off" autocapitalize="off" spellcheck="false" data-testid="git-username" /></div>
      <div class="field"><label for="git-password">Password or token</label><input class="input" id="git-password" name="password" type="password" required maxlength="4096" autocomplete="off" data-testid="git-password" /></div>
      <div class="field"><label for="git-repository">Only for</label><input class="input" id="git-repository" name="repository" maxlength="2048" placeholder="a repository’s URL; all if empty" autocomplete="off" spellcheck="false" /></div>
      <button class="button" type="submit" data-testid="save-git"><${Icon} name="plus" />Keep</button>
    </form>
  </section>`;
}

export function Personal({ call, user }) {
  const [settings, setSettings] = useState();
  const [problem, setProblem] = useState();
  useEffect(() => void attempt(async () => setSettings(await call("GET", "/user/settings"))), []);
  const save = async (event) => {
    event.preventDefault();
    const { gitName, gitEmail, dotfiles, script, editor, extensions } = event.target.elements;
    const body = { git_name: gitName.value, git_email: gitEmail.value, dotfiles_repository: dotfiles.value, dotfiles_script: script.value, editor_settings: editor.value, extensions: extensions.value.split(/[\s,]+/).filter(Boolean) };
    setProblem(undefined);
    try {
      setSettings(await call("PATCH", "/user/settings", body));
      toast("Saved. New codespaces begin with it; git’s name changes when a codespace starts again.", { tone: "good" });
    } catch (refusal) {
      setProblem(refusal);
    }
  };
  if (!settings) return html`<section class="panel"><h2>In each codespace</h2><p class="quiet" role="status">Loading…</p></section>`;
  return html`<form class="panel" onSubmit=${save} id="personal"><h2>In each codespace</h2>
    <p class="quiet small">What a new codespace of yours begins with.</p>
    <div class="inline-form">
      <div class="field"><label for="git-name">Name in commits</label><input class="input" id="git-name" name="gitName" maxlength="200" defaultValue=${settings.git_name ?? ""} placeholder=${user.name} autocomplete="name" data-testid="git-name" /></div>
      <div class="field"><label for="git-email">E-mail in commits</label><input class="input" id="git-email" name="gitEmail" type="email" maxlength="200" defaultValue=${settings.git_email ?? ""} placeholder=${user.email ?? "the account’s"} autocomplete="email" data-testid="git-email" /></div>
    </div>
    <div class="inline-form spaced">
      <div class="field"><label for="dotfiles">Dotfiles repository</label><input class="input" id="dotfiles" name="dotfiles" maxlength="2048" defaultValue=${settings.dotfiles_repository ?? ""} placeholder="https://github.com/you/dotfiles" autocomplete="off" spellcheck="false" data-testid="dotfiles" /></div>
      <div class="field"><label for="dotfiles-script">Its script</label><input class="input mono" id="dotfiles-script" name="script" maxlength="200" defaultValue=${settings.dotfiles_script ?? ""} placeholder="install.sh, setup.sh, …" autocomplete="off" spellcheck="false" /></div>
    </div>
    <p class="quiet small">Cloned to <code>~/.dotfiles</code> once; its script runs as you, or its dotfiles are linked where there is none. Nothing happens if this is empty.</p>
    <div class="field"><label for="editor-settings">Settings of VS Code</label><textarea class="input mono" id="editor-settings" name="editor" rows="6" maxlength="65536" spellcheck="false" placeholder=${'{\n  "editor.fontSize": 15\n}'} defaultValue=${settings.editor_settings ?? ""} data-testid="editor-settings"></textarea><span class="hint">The text of your <code>settings.json</code>; comments may stay. What you change here reaches each codespace at its next start.</span></div>
    <div class="field"><label for="extensions">Extensions</label><textarea class="input mono" id="extensions" name="extensions" rows="3" spellcheck="false" placeholder="rust-lang.rust-analyzer" defaultValue=${settings.extensions.join("\n")} data-testid="extensions"></textarea><span class="hint">One for each line, as <code>publisher.name</code>.</span></div>
    ${problem && html`<${Message}>${problem.message}<//>`}
    <button class="button primary" type="submit" data-testid="save-personal">Save</button>
  </form>`;
}
