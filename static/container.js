// What of the repository's devcontainer.json holds: a rebuild where it changed, why a container is another, what is not heeded.

import { attempt, Dialog, Icon, Message } from "./parts.js";
import { html, useState } from "./vendor/preact.js";

export function Container({ codespace, call, live }) {
  const [asking, setAsking] = useState(false);
  if (codespace.state !== "running") return null;
  const notices = codespace.notices ?? [];
  const button = (words) => html`<button type="button" class="button" onClick=${() => setAsking(true)} data-testid="rebuild"><${Icon} name="wait" />${words}</button>`;
  return html`
    ${codespace.recovery && html`<${Message}><div data-testid="recovery"><p><strong>This is a recovery container</strong> of the default image, with all of your files: the repository's own could not be made.</p>
      <pre class="said">${codespace.recovery}</pre>
      <p>The log has all that was said. Mend <code>devcontainer.json</code> or the Dockerfile here, then rebuild.</p>${button("Rebuild")}</div><//>`}
    ${!codespace.recovery && codespace.rebuild_offered && html`<${Message} tone="info"><div data-testid="rebuild-offer"><p><code>devcontainer.json</code> asks for another container than this one. A rebuild makes it; your files stay.</p>${button("Rebuild")}</div><//>`}
    ${notices.length > 0 && html`<details class="message info notices" data-testid="notices"><summary>${notices.length === 1 ? "One thing" : `${notices.length} things`} in <code>devcontainer.json</code> ${notices.length === 1 ? "is" : "are"} not as written</summary>
      <dl>${notices.map(({ key, reason }) => html`<div key=${key + reason}><dt><code>${key}</code></dt><dd>${reason}</dd></div>`)}</dl></details>`}
    ${asking && html`<${Rebuild} ...${{ codespace, call, live }} onClose=${() => setAsking(false)} />`}`;
}

function Rebuild({ codespace, call, live, onClose }) {
  async function rebuild() {
    onClose();
    await attempt(async () => live.put(await call("POST", `/codespaces/${codespace.name}/rebuild`, {})));
  }
  return html`<${Dialog} title="Rebuild this codespace?" onClose=${onClose}>
    <p>Its container is made anew. Your repository stays, with all that is not committed. What runs ends, and what you installed outside of the repository is gone.</p>
    <div class="dialog-actions"><button type="button" class="button" onClick=${onClose}>Cancel</button>
      <button type="button" class="button primary" onClick=${rebuild} autofocus data-testid="confirm-rebuild">Rebuild</button></div>
  <//>`;
}
