// What can be done with a codespace: open, start, stop, delete.

import { attempt, Dialog, Icon, isMoving, isOwnMachine, Message, toast } from "./parts.js";
import { html, useEffect, useState } from "./vendor/preact.js";

export function Actions({ codespace, call, live, go, gone }) {
  const [deleting, setDeleting] = useState(false);
  const [busy, setBusy] = useState(false);
  const path = `/codespaces/${codespace.name}`;
  async function ask(verb) {
    setBusy(true);
    await attempt(async () => live.put(await call("POST", `${path}/${verb}`, {})));
    setBusy(false);
  }
  const own = isOwnMachine(codespace);
  const running = codespace.state === "running";
  const startable = ["stopped", "failed"].includes(codespace.state);
  const still = codespace.state === "deleting" || codespace.state === "stopping";
  return html`
    ${running && (!own || codespace.connected) && html`<a class="button primary" href=${codespace.editor_url} target="_blank" rel="noopener" data-testid="open-editor"><${Icon} name="open" />${codespace.editor === "absent" ? "Open workbench" : "Open editor"}</a>`}
    ${startable && html`<button type="button" class="button primary" disabled=${busy} onClick=${() => ask("start")} data-testid="start"><${Icon} name="play" />${codespace.state === "failed" ? "Try again" : "Start"}</button>`}
    ${!own && (running || (isMoving(codespace) && !still)) && html`<button type="button" class="button" disabled=${busy} onClick=${() => ask("stop")} data-testid="stop"><${Icon} name="stop" />Stop</button>`}
    ${codespace.state !== "deleting" && html`<button type="button" class="button plain" onClick=${() => setDeleting(true)} data-testid="delete"><${Icon} name="bin" />${own ? "Remove" : "Delete"}</button>`}
    ${deleting && html`<${Delete} ...${{ codespace, call, live, gone }} onClose=${() => setDeleting(false)} />`}
  `;
}

const count = (number, one, many) => (number === 1 ? `1 ${one}` : `${number} ${many}`);

/** What would be lost, in words; nothing if all is pushed or nobody can tell. */
function losses({ uncommitted_files: files = 0, unpushed_commits: commits = 0 }) {
  const parts = [];
  if (files) parts.push(`${count(files, "file", "files")} with changes that are not committed`);
  if (commits) parts.push(`${count(commits, "commit that is", "commits that are")} not pushed`);
  return parts.join(" and ");
}

function Delete({ codespace, call, live, gone, onClose }) {
  const [lost, setLost] = useState("");
  const [problem, setProblem] = useState();
  const [busy, setBusy] = useState(false);
  const path = `/codespaces/${codespace.name}`;
  useEffect(() => {
    if (codespace.state !== "running" || isOwnMachine(codespace)) return;
    call("GET", `${path}/work`).then((work) => setLost(losses(work ?? {})), () => undefined);
  }, []);
  async function remove() {
    setBusy(true);
    try {
      await call("DELETE", lost ? `${path}?force=true` : path);
      live.refresh();
      toast(isOwnMachine(codespace) ? `${codespace.display_name} is removed.` : `${codespace.name} is being deleted.`);
      onClose();
      gone?.();
    } catch (refusal) {
      if (refusal.slug === "unpushed-work") setLost(losses(refusal.members) || "work that is not pushed");
      else setProblem(refusal);
    }
    setBusy(false);
  }
  if (isOwnMachine(codespace)) {
    return html`<${Dialog} title="Remove this machine?" onClose=${onClose}>
      <p><strong>${codespace.display_name}</strong> will be no codespace any more, and its agent will end. Everything on the machine stays as it is.</p>
      ${problem && html`<${Message}>${problem.message}<//>`}
      <div class="dialog-actions">
        <button type="button" class="button" onClick=${onClose} autofocus>Keep it</button>
        <button type="button" class="button danger" disabled=${busy} onClick=${remove} data-testid="confirm-delete">Remove</button>
      </div>
    <//>`;
  }
  return html`<${Dialog} title="Delete this codespace?" onClose=${onClose}>
    <p><strong class="mono">${codespace.name}</strong> and everything inside it will be gone for good. The repository it came from stays as it is.</p>
    ${lost && html`<${Message} tone="bad"><p><strong>You would lose work:</strong> ${lost}.</p><//>`}
    ${problem && html`<${Message}>${problem.message}<//>`}
    <div class="dialog-actions">
      <button type="button" class="button" onClick=${onClose} autofocus>Keep it</button>
      <button type="button" class="button danger" disabled=${busy} onClick=${remove} data-testid="confirm-delete">${lost ? "Delete and lose the work" : "Delete"}</button>
    </div>
  <//>`;
}
