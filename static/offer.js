// What the repository asks to share: a question to the owner, once for each content. Nothing is open before.

import { attempt, Icon, Message, toast } from "./parts.js";
import { html, useState } from "./vendor/preact.js";

const WHO = { org: "everyone with an account on this gateway", public: "anyone who has the address, without signing in" };

export function Offer({ codespace, call, live }) {
  const [busy, setBusy] = useState(false);
  const { offer } = codespace;
  if (!offer || !call) return null;
  async function decide(accept) {
    setBusy(true);
    await attempt(async () => {
      const ports = await call("POST", `/codespaces/${codespace.name}/offer`, { hash: offer.hash, accept });
      live.put({ ...(live.codespaces.get(codespace.name) ?? codespace), ports, offer: null });
      toast(accept ? "Shared, as the repository asks." : "Nothing was shared.", { tone: "good" });
    });
    setBusy(false);
  }
  return html`<div data-testid="offer"><${Message} tone="wait">
    <p><strong>The repository asks to share ports.</strong> Nothing is shared unless you say so; <span class="mono">${offer.source}</span> wants:</p>
    <ul class="offer">${offer.ports.map(({ port, visibility, now }) => html`<li key=${port}>Port <strong>${port}</strong> for ${WHO[visibility] ?? visibility}${now === visibility ? " (it is already)" : ""}</li>`)}</ul>
    <p class="offer-actions">
      <button type="button" class="button compact" disabled=${busy} onClick=${() => decide(false)} data-testid="offer-dismiss">Share nothing</button>
      <button type="button" class="button danger compact" disabled=${busy} onClick=${() => decide(true)} data-testid="offer-accept"><${Icon} name="globe" />Share ${offer.ports.length === 1 ? "it" : `all ${offer.ports.length}`}</button>
    </p>
  <//></div>`;
}
