// The form that makes a codespace. A link may fill it in; only a click creates.

import { useTitle } from "./hooks.js";
import { ago, attempt, CopyButton, Icon, Message, toast } from "./parts.js";
import { html, useEffect, useState } from "./vendor/preact.js";

/** Which repository an address names, roughly: enough to tell whether somebody had it before. */
const canon = (address) => address.trim().replace(/\/+$/, "").replace(/\.git$/, "").toLowerCase();

export function Create({ call, live, go, query }) {
  useTitle("New codespace");
  const [problem, setProblem] = useState();
  const [busy, setBusy] = useState(false);
  const linked = query.has("repository");
  const pullRequest = query.get("pull_request");
  const unclear = pullRequest && !/^0*[1-9]\d*$/.test(pullRequest);
  // Whoever made the link chose the repository: its code gets nothing of theirs unless they say so.
  const [personal, setPersonal] = useState(!linked);
  const [chosen, setChosen] = useState(false);
  useEffect(() => {
    const look = () => {
      const known = [...live.codespaces.values()].some((codespace) => canon(codespace.repository) === canon(query.get("repository") ?? "") && codespace.personal);
      if (linked && !chosen) setPersonal(known);
    };
    look();
    return live.subscribe(look);
  }, [chosen]);
  async function create(event) {
    event.preventDefault();
    const fields = event.target.elements;
    const body = { repository: fields.repository.value.trim(), personal };
    if (fields.ref?.value.trim()) body.ref = fields.ref.value.trim();
    if (fields.pull_request?.value) body.pull_request = Number(fields.pull_request.value);
    if (fields.devcontainer.value.trim()) body.devcontainer_path = fields.devcontainer.value.trim();
    setBusy(true);
    setProblem(undefined);
    try {
      const codespace = await call("POST", "/codespaces", body);
      live.put(codespace);
      go(`/codespaces/${codespace.name}`);
    } catch (refusal) {
      setProblem(refusal);
      setBusy(false);
    }
  }
  return html`<div class="narrow">
    <h1 tabindex="-1">New codespace</h1>
    <p class="quiet">From a git repository, at a branch, tag or commit. If you already have one for the same, you get that one.</p>
    <form class="panel" onSubmit=${create}>
      ${problem && html`<${Message}><p>${problem.message}</p><//>`}
      ${linked && !problem && html`<${Message} tone="info"><p>A link filled this in. Nothing happens until you create it; check that you trust the repository.</p><//>`}
      <div class="field">
        <label for="repository">Repository</label>
        <input class="input mono" id="repository" name="repository" required autocomplete="off" autocapitalize="none" spellcheck=${false} placeholder="https://git.example/team/app.git" defaultValue=${query.get("repository") ?? ""} autofocus data-testid="new-repository" aria-describedby="repository-hint" />
        <span class="hint" id="repository-hint">An https or ssh address. Administrators may also name a folder on this machine.</span>
      </div>
      ${pullRequest ? html`<div class="field">
        <label for="pull-request">Pull request</label>
        <input class="input mono" id="pull-request" name="pull_request" type="number" required min="1" step="1" defaultValue=${unclear ? "" : pullRequest} data-testid="new-pull-request" aria-describedby="pull-request-hint" />
        <span class="hint" id="pull-request-hint">${unclear && "The link names a pull request, but not by its number: type that. "}${query.get("ref") && "The link names a branch, tag or commit too: the pull request is what is used."}</span>
      </div>` : html`<div class="field">
        <label for="ref">Branch, tag or commit <span class="quiet">(optional)</span></label>
        <input class="input mono" id="ref" name="ref" autocomplete="off" autocapitalize="none" spellcheck=${false} placeholder="the default branch" defaultValue=${query.get("ref") ?? ""} data-testid="new-ref" />
      </div>`}
      <div class="field">
        <label for="devcontainer">Path of its devcontainer.json <span class="quiet">(optional)</span></label>
        <input class="input mono" id="devcontainer" name="devcontainer" autocomplete="off" autocapitalize="none" spellcheck=${false} placeholder="the one in .devcontainer" defaultValue=${query.get("devcontainer_path") ?? ""} data-testid="new-devcontainer" />
      </div>
      <div class="field">
        <label class="check"><input type="checkbox" name="personal" checked=${personal} onChange=${(event) => (setChosen(true), setPersonal(event.target.checked))} aria-describedby="personal-hint" data-testid="new-personal" /> With my secrets and settings</label>
        <span class="hint" id="personal-hint">All code in the repository can then read the secrets and git passwords that you keep, those for one other repository excepted, and your dotfiles run in it. Leave it out for code that you do not trust.</span>
      </div>
      <div class="form-actions">
        <button class="button primary" type="submit" disabled=${busy} data-testid="create"><${Icon} name=${busy ? "wait" : "plus"} spin=${busy} />${busy ? "Creating…" : "Create codespace"}</button>
        <a class="button plain" href="/">Cancel</a>
      </div>
    </form>
    <${OwnMachine} call=${call} />
  </div>`;
}

/** A machine of one's own, made a codespace by a command that is typed there. */
function OwnMachine({ call }) {
  const [made, setMade] = useState();
  const [waiting, setWaiting] = useState([]);
  const [problem, setProblem] = useState();
  const load = () => attempt(async () => setWaiting(await call("GET", "/machines/registrations")));
  useEffect(() => void load(), []);
  const revoke = async ({ id }) => {
    setProblem(undefined);
    try {
      await call("DELETE", `/machines/registrations/${id}`);
      if (made?.id === id) setMade(undefined);
      toast("No machine joins with that command any more.");
    } catch (refusal) {
      setProblem(refusal);
    }
    load();
  };
  const make = async () => {
    setProblem(undefined);
    try {
      setMade(await call("POST", "/machines/registrations", {}));
      load();
    } catch (refusal) {
      setProblem(refusal);
    }
  };
  return html`<section class="panel" id="own-machine"><h2>Or a machine of your own</h2>
    <p class="quiet small">Any Linux machine with the <code>portico</code> program becomes a codespace, from behind any network: it dials out. It stays yours to start and stop, and you reach all of its ports. Nothing that you keep here goes there until you say so.</p>
    ${problem && html`<${Message}>${problem.message}<//>`}
    ${made
      ? html`<p>Type this on the machine, once, within an hour and before you sign out:</p>
          <p class="secret"><code data-testid="join-command">${made.command}</code><${CopyButton} text=${made.command} label="Copy the command" class="compact" /></p>
          <p class="quiet small">It appears in the list as soon as it has joined, without your secrets, git passwords, dotfiles and settings. To give it those: <code>portico codespace edit NAME --personal true</code>.</p>`
      : html`<button type="button" class="button" onClick=${make} data-testid="register-machine"><${Icon} name="plus" />Register a machine</button>`}
    ${waiting.length > 0 && html`<h3 class="small">Commands that wait for their machine</h3>
      <ul class="lines">${waiting.map((one) => html`<li key=${one.id} data-testid="waiting-machine">
        <div><span class="mono small">${one.id}</span> <span class="quiet small block">made ${ago(one.made_at)} · ends ${ago(one.expires_at)}${made?.id === one.id ? " · the one above" : ""}</span></div>
        <button type="button" class="button plain compact" onClick=${() => revoke(one)} aria-label="Revoke the command ${one.id}" data-testid="revoke-machine">Revoke</button></li>`)}</ul>`}
  </section>`;
}
