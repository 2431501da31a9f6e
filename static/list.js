// All codespaces of the one who looks.

import { Actions } from "./actions.js";
import { useLive, useTitle } from "./hooks.js";
import { ago, Icon, isOwnMachine, Message, shortRepository, State, titleOf } from "./parts.js";
import { html } from "./vendor/preact.js";

export function List({ call, live, go }) {
  useLive(live);
  useTitle("Codespaces");
  const codespaces = [...live.codespaces.values()].sort((a, b) => String(b.last_used_at ?? b.created_at).localeCompare(String(a.last_used_at ?? a.created_at)));
  return html`<div class="page-head">
      <h1 tabindex="-1">Codespaces</h1>
      <a class="button primary" href="/new" data-testid="new"><${Icon} name="plus" />New codespace</a>
    </div>
    ${live.problem && html`<${Message}><p>${live.problem.message}</p><//>`}
    ${!live.loaded && !live.problem && html`<p class="quiet" role="status">Loading…</p>`}
    ${live.loaded && codespaces.length === 0 && html`<${Empty} />`}
    ${codespaces.length > 0 && html`<ul class="rows">${codespaces.map((codespace) => html`<${Row} key=${codespace.name} ...${{ codespace, call, live, go }} />`)}</ul>`}`;
}

const Empty = () => html`<section class="empty">
  <svg viewBox="0 0 120 96" aria-hidden="true"><path class="door" d="M44 84V52a16 16 0 0 1 32 0v32z" /><path class="stone" d="M8 84h104M24 84V50a36 36 0 0 1 72 0v34M44 84V52a16 16 0 0 1 32 0v32M17 90h86" /></svg>
  <h2>No codespaces yet</h2>
  <p>A codespace is your repository, checked out and running, with an editor and terminals in the browser.</p>
  <a class="button primary" href="/new">Create your first</a>
</section>`;

function Row({ codespace, call, live, go }) {
  const path = `/codespaces/${codespace.name}`;
  const open = (codespace.ports ?? []).filter((port) => port.listening);
  return html`<li class="row" data-testid="codespace-row" data-name=${codespace.name} data-state=${codespace.state}>
    <div class="row-main">
      <a class="row-title" href=${path}>${titleOf(codespace)}</a>
      <${State} codespace=${codespace} />
    </div>
    <p class="row-facts">
      ${codespace.ref && html`<span title=${shortRepository(codespace.repository)}><${Icon} name="branch" /> ${codespace.ref}</span>`}
      ${isOwnMachine(codespace) && html`<span>own machine</span>`}
      <span class="mono">${codespace.name}</span>
      <span>used ${ago(codespace.last_used_at ?? codespace.created_at)}</span>
      ${open.map((port) => html`<a href=${port.url} target="_blank" rel="noopener" key=${port.port}>port ${port.port}</a>`)}
    </p>
    ${codespace.state === "failed" && codespace.reason && html`<p class="row-reason">${codespace.reason}</p>`}
    ${codespace.state === "stopped" && codespace.stopped_because && html`<p class="row-reason quiet">${codespace.stopped_because}</p>`}
    ${codespace.state === "running" && codespace.stops_soon && html`<p class="row-reason quiet">About to stop: ${codespace.stops_anyway ? "it has run for as long as one may" : "nothing has happened in it for a while"}.</p>`}
    ${codespace.deletes_at && html`<p class="row-reason" data-testid="deletes-soon">Will be deleted on ${new Date(codespace.deletes_at).toLocaleDateString([], { dateStyle: "long" })}, unless it is used.</p>`}
    <div class="row-actions"><${Actions} ...${{ codespace, call, live, go }} /></div>
  </li>`;
}
