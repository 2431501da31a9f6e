// What there is to say of how long a codespace stays: that it is about to stop, or to be deleted, and what keeps it awake.

import { attempt, Message } from "./parts.js";
import { html, useState } from "./vendor/preact.js";

const time = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
const day = (at) => new Date(at).toLocaleDateString([], { dateStyle: "long" });

/** Says that it stops or goes soon, with the one thing to press that puts it off. */
export function Staying({ codespace, call, changed }) {
  const [busy, setBusy] = useState(false);
  const soon = codespace.state === "running" && codespace.stops_soon;
  const goes = codespace.deletes_at;
  if (!soon && !goes) return null;
  async function keep() {
    setBusy(true);
    await attempt(async () => {
      await call("POST", `/codespaces/${codespace.name}/activity`, {});
      changed(await call("GET", `/codespaces/${codespace.name}`));
    });
    setBusy(false);
  }
  return html`<${Message} tone="wait"><div data-testid=${soon ? "stops-soon" : "deletes-soon"}>
    ${soon && html`<p><strong>It stops at ${time(codespace.stops_at)}.</strong> ${codespace.stops_anyway ? "It has run for as long as the operator of this gateway lets one run, and can be started again." : "Nothing has happened in it for a while."} Files stay; what runs ends.</p>`}
    ${goes && html`<p><strong>It will be deleted on ${day(goes)}.</strong> Nobody has used it for long. Starting it keeps it too.</p>`}
    ${(goes || !codespace.stops_anyway) && html`<p class="row-actions"><button type="button" class="button" disabled=${busy} onClick=${keep} data-testid="keep">${soon && !codespace.stops_anyway ? "Keep it awake" : "Keep it"}</button></p>`}
  </div><//>`;
}

/** The processes that keep it awake, each with a way to end that. */
export function Leases({ codespace, call, changed }) {
  async function end(lease) {
    await attempt(async () => {
      await call("DELETE", `/codespaces/${codespace.name}/leases/${lease.id}`, {});
      changed(await call("GET", `/codespaces/${codespace.name}`));
    });
  }
  return html`<ul class="plain">${codespace.leases.map(
    (lease) => html`<li key=${lease.id} data-testid="lease"><span class="wrap">${lease.what} (process ${lease.pid})</span>, until ${time(lease.until)} at most
      <button type="button" class="button plain compact" onClick=${() => end(lease)} data-testid="end-lease" aria-label=${`No longer for ${lease.what}`}>No longer</button></li>`,
  )}</ul>`;
}
