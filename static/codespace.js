// One codespace: its steps, ports, terminals and log.

import { Actions } from "./actions.js";
import { Container } from "./container.js";
import { useLive, usePolling, useTitle } from "./hooks.js";
import { Mend } from "./mend.js";
import { Dialog, Icon, isMoving, isOwnMachine, Message, shortRepository, State, titleOf } from "./parts.js";
import { Ports, WAKERS } from "./ports.js";
import { Leases, Staying } from "./staying.js";
import { Terminals } from "./terminals.js";
import { html, useEffect, useState } from "./vendor/preact.js";

const STEP_LABELS = { storage: "Prepare storage", agent: "Start the codespace", clone: "Fetch the repository", image: "Make the container", on_create: "Run onCreateCommand", update_content: "Run updateContentCommand", editor: "Start the editor", post_create: "Run postCreateCommand", dotfiles: "Install your dotfiles", extensions: "Install your extensions", post_start: "Run postStartCommand", post_attach: "Run postAttachCommand", history: "Fetch the full history" };
const STEP_WORDS = { pending: "waiting", running: "in progress", done: "done", skipped: "not needed", failed: "failed" };

export function CodespacePage({ call, live, go, name, terminal, base }) {
  useLive(live);
  const [missing, setMissing] = useState(false);
  const codespace = live.codespaces.get(name);
  useTitle(codespace ? titleOf(codespace) : name);
  useEffect(() => {
    call("GET", `/codespaces/${encodeURIComponent(name)}`).then((found) => live.put(found), (problem) => setMissing(problem.status === 404));
  }, [name]);
  if (!codespace) return missing || live.loaded ? html`<${Missing} />` : html`<p class="quiet" role="status">Loading…</p>`;
  return html`<div class="codespace">
    <${Head} ...${{ codespace, call, live, go }} />
    <${Container} ...${{ codespace, call, live }} />
    <${Mend} ...${{ codespace, call, live }} />
    <${Staying} ...${{ codespace, call }} changed=${(now) => live.put(now)} />
    <div class="columns">
      <section class="work" aria-label="Terminals and log"><${Terminals} ...${{ codespace, call, base, go, selected: terminal }} /></section>
      <aside class="side" tabindex="0" aria-label="Ports and details">
        <${Steps} codespace=${codespace} />
        <section class="panel"><h2>Ports</h2><${Ports} ...${{ codespace, call, live }} /></section>
        <${About} ...${{ codespace, call, live }} />
      </aside>
    </div>
  </div>`;
}

const Missing = () => html`<div class="narrow"><h1 tabindex="-1">There is nothing here for you</h1>
  <p>This codespace does not exist, or is not shared with you. Ask whoever sent you the link, or switch account.</p>
  <p><a class="button" href="/">Go to your codespaces</a></p></div>`;

function Head({ codespace, call, live, go }) {
  const repository = shortRepository(codespace.repository);
  return html`<header class="page-head">
    <div class="head-words">
      <div class="head-line"><h1 tabindex="-1">${titleOf(codespace)}</h1><${State} codespace=${codespace} /></div>
      <p class="row-facts">
        ${titleOf(codespace) !== repository && html`<span>${repository}</span>`}
        ${codespace.ref && html`<span><${Icon} name="branch" /> ${codespace.ref}</span>`}
        <span class="mono">${codespace.name}</span>
      </p>
    </div>
    <div class="row-actions"><${Actions} ...${{ codespace, call, live, go }} gone=${() => go("/")} /></div>
  </header>
  ${codespace.state === "failed" && html`<${Message}><p><strong>It did not start.</strong> ${codespace.reason || "The log below may say why."}</p><p>Mend the cause and try again; what was saved is still there.</p><//>`}
  ${["creating", "starting", "running"].includes(codespace.state) && codespace.restarted_because && html`<${Message} tone="info"><p data-testid="restarted"><strong>It was started again by itself:</strong> ${codespace.restarted_because}. What was saved is still there; what ran in it has ended.</p><//>`}
  ${codespace.state === "running" && codespace.connected === false && html`<${Message} tone="wait"><p data-testid="away">${codespace.away_because
    ? html`<strong>Nobody can say how it is:</strong> ${codespace.away_because}. What was saved is still there, and it comes back by itself once that is mended.`
    : "The connection to the codespace is down. It runs on, and comes back by itself."}</p><//>`}
  ${codespace.state === "running" && codespace.out_of_memory && html`<${Message} tone="info"><p data-testid="memory"><strong>Something in it ran out of memory:</strong> ${codespace.out_of_memory}. What was saved is still there.</p><//>`}
  ${codespace.state === "stopped" && codespace.stopped_because && html`<${Message} tone="info"><p>Stopped: ${codespace.stopped_because}</p><//>`}`;
}

function Steps({ codespace }) {
  const steps = codespace.steps ?? [];
  const over = steps.every((step) => ["done", "skipped"].includes(step.state) || (step.name === "post_attach" && step.state === "pending"));
  // What runs when somebody opens the editor is nothing that is waited for.
  if (steps.length === 0 || (over && !isMoving(codespace)) || ["stopped", "stopping", "deleting"].includes(codespace.state)) return null;
  return html`<section class="panel" data-testid="steps"><h2>Getting ready</h2>
    <ol class="steps" aria-live="polite">${steps.map(
      (step) => html`<li key=${step.name} data-step=${step.name} data-state=${step.state}>
        <span class="step-name">${STEP_LABELS[step.name] ?? step.name}</span> <span class="step-word">${STEP_WORDS[step.state] ?? step.state}</span>
        ${step.detail && html`<span class="step-detail">${step.detail}</span>`}
      </li>`,
    )}</ol></section>`;
}

function About({ codespace, call, live }) {
  const [editing, setEditing] = useState(false);
  const [activity, setActivity] = useState();
  usePolling(() => codespace.state === "running" && call("GET", `/codespaces/${codespace.name}/activity`).then(setActivity, () => undefined), 30_000, [codespace.state]);
  const awake = activity?.awake_because ?? codespace.awake_because ?? [];
  const rows = [
    ["Repository", html`<span class="wrap">${codespace.repository || "none: it is a machine of its owner’s"}</span>`],
    codespace.personal === false && ["Yours", "nothing: without your secrets and settings"],
    (codespace.woken_by ?? "owner") !== "owner" && ["Started by visits of", WAKERS[codespace.woken_by] ?? codespace.woken_by],
    codespace.pull_request && ["Pull request", `#${codespace.pull_request}`],
    !isOwnMachine(codespace) && ["Stops when idle for", codespace.idle_timeout_minutes ? `${codespace.idle_timeout_minutes} minutes` : "never"],
    codespace.state === "running" && awake.length > 0 && ["Awake because", awake.join(", ")],
    (codespace.leases ?? []).length > 0 && ["Kept awake by", html`<${Leases} ...${{ codespace, call }} changed=${(now) => live.put(now)} />`],
    codespace.state === "running" && activity?.stops_at && [activity.stops_anyway ? "Stops by itself, whatever happens" : "Stops by itself, if nothing happens", new Date(activity.stops_at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })],
    ["Created", new Date(codespace.created_at).toLocaleString()],
  ];
  return html`<section class="panel"><div class="panel-head"><h2>About</h2>
      <button type="button" class="button plain compact" onClick=${() => setEditing(true)} data-testid="edit-codespace"><${Icon} name="edit" />Change</button></div>
    ${editing && html`<${Edit} ...${{ codespace, call, live }} onClose=${() => setEditing(false)} />`}
    <dl class="facts">${rows.filter(Boolean).map(([term, value]) => html`<div key=${term}><dt>${term}</dt><dd>${value}</dd></div>`)}</dl>
  </section>`;
}

/** Its name for people, and how long it stays awake unused. */
function Edit({ codespace, call, live, onClose }) {
  const [problem, setProblem] = useState();
  const [busy, setBusy] = useState(false);
  async function save(event) {
    event.preventDefault();
    const { shown, idle, wakers, traffic } = event.target.elements;
    setBusy(true);
    try {
      live.put(await call("PATCH", `/codespaces/${codespace.name}`, { display_name: shown.value.trim(), idle_timeout_minutes: Number(idle.value), woken_by: wakers.value, traffic_counts: traffic.checked }));
      onClose();
    } catch (refusal) {
      setProblem(refusal);
      setBusy(false);
    }
  }
  return html`<${Dialog} title="Change this codespace" onClose=${onClose}>
    <form onSubmit=${save}>
      ${problem && html`<${Message}><p>${problem.message}</p><//>`}
      <div class="field"><label for="edit-shown">Name shown</label>
        <input class="input" id="edit-shown" name="shown" required maxlength="80" autocomplete="off" defaultValue=${titleOf(codespace)} autofocus aria-describedby="edit-shown-hint" />
        <span class="hint" id="edit-shown-hint">Its address stays <span class="mono">${codespace.name}</span>.</span></div>
      <div class="field"><label for="edit-idle">Stops after so many idle minutes</label>
        <input class="input" id="edit-idle" name="idle" type="number" required min="5" max="240" step="1" defaultValue=${codespace.idle_timeout_minutes} aria-describedby="edit-idle-hint" />
        <span class="hint" id="edit-idle-hint">5 to 240. What runs ends then; files stay.</span></div>
      <label class="check"><input type="checkbox" name="traffic" defaultChecked=${codespace.traffic_counts} data-testid="traffic-counts" /> Requests to its ports count as use</label>
      <div class="field"><label for="edit-wakers">Who starts it by visiting</label>
        <select class="input" id="edit-wakers" name="wakers" aria-describedby="edit-wakers-hint" data-testid="woken-by">
          ${Object.entries(WAKERS).map(([word, label]) => html`<option value=${word} selected=${word === (codespace.woken_by ?? "owner")}>${label}</option>`)}</select>
        <span class="hint" id="edit-wakers-hint">Everybody else is told to ask you while it is stopped. Pages of other sites never start it.</span></div>
      <div class="dialog-actions"><button type="button" class="button" onClick=${onClose}>Cancel</button>
        <button type="submit" class="button primary" disabled=${busy} data-testid="save-codespace">Save</button></div>
    </form>
  <//>`;
}
