// For administrators: what holds work of codespaces that are no more, and how each is removed.

import { CopyButton, Message } from "./parts.js";
import { html, useEffect, useState } from "./vendor/preact.js";

export function LeftBehind({ call }) {
  const [left, setLeft] = useState();
  const [problem, setProblem] = useState();
  useEffect(() => void call("GET", "/left-behind").then(setLeft, setProblem), []);
  if (problem) return html`<${Message}><p>${problem.message}</p><//>`;
  if (!left) return html`<p class="quiet" role="status">Loading…</p>`;
  if (!left.length) return html`<p class="quiet" role="status" data-testid="nothing-left">Nothing is left of codespaces that are no more.</p>`;
  return html`<p class="quiet">This was made for codespaces that this gateway does not know, as after a restored backup. It may hold somebody’s work, so that nothing removes it by itself. The command removes it for good, typed on the gateway’s machine.</p>
    <ul class="rows">${left.map(({ kind, name, codespace, remove }) => html`<li class="row" key=${name} data-testid="left-behind" data-codespace=${codespace}>
      <div class="row-main"><strong class="wrap">${codespace}</strong></div>
      <div class="row-facts"><span>${kind} <span class="mono">${name}</span></span></div>
      <p class="row-reason quiet"><code>${remove}</code></p>
      <div class="row-actions"><${CopyButton} text=${remove} label="Copy the command" class="compact" /></div></li>`)}</ul>`;
}
