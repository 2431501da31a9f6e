// Share links of a port: made with a QR code for a phone, listed, revoked.

import { ago, attempt, CopyButton, Dialog, Icon, Message } from "./parts.js";
import { html, useEffect, useState } from "./vendor/preact.js";

const LASTING = [["1h", "1 hour"], ["8h", "8 hours"], ["1d", "1 day"], ["7d", "7 days"], ["30d", "30 days"], ["", "until I revoke it"]];
const STATES = { open: ["good", "Open"], expired: ["idle", "Expired"], revoked: ["idle", "Revoked"], "used-up": ["idle", "Used up"], closed: ["bad", "Closed"] };

/** A dialog with the links of one port. */
export function LinksDialog({ codespace, port, call, onClose }) {
  const path = `/codespaces/${codespace.name}/ports/${port.port}/links`;
  const [links, setLinks] = useState();
  const [made, setMade] = useState();
  const load = () => attempt(async () => setLinks(await call("GET", path)));
  useEffect(() => void load(), []);
  async function create(body) {
    const link = await attempt(() => call("POST", path, body));
    if (link) setMade(link);
    load();
  }
  async function revoke(link) {
    await attempt(() => call("DELETE", `${path}/${link.id}`));
    if (made?.id === link.id) setMade(undefined);
    load();
  }
  const open = (links ?? []).filter((link) => link.state === "open");
  const over = (links ?? []).filter((link) => link.state !== "open").slice(0, 5);
  return html`<${Dialog} title="Links to port ${port.port}" onClose=${onClose}>
    ${made ? html`<${Made} ...${{ made, port }} onMore=${() => setMade(undefined)} />` : html`<${NewLink} ...${{ port, create }} />`}
    ${links && open.length + over.length > 0 && html`<h3 class="links-head">Links that are there</h3>
      <ul class="links-list" data-testid="links">${[...open, ...over].map((link) => html`<${Row} key=${link.id} link=${link} revoke=${revoke} />`)}</ul>`}
    <div class="dialog-actions"><button type="button" class="button" onClick=${onClose} data-testid="links-close">Close</button></div>
  <//>`;
}

function NewLink({ port, create }) {
  const [kind, setKind] = useState("people");
  const webhook = kind === "webhook";
  function submit(event) {
    event.preventDefault();
    const { name, lasting, password, uses, path } = event.target.elements;
    create({
      kind,
      name: name.value.trim(),
      ...(lasting.value && { expires_in: lasting.value }),
      ...(password?.value && { password: password.value }),
      ...(uses.value && { max_uses: Number(uses.value) }),
      ...(path.value.trim() && { path: path.value.trim() }),
    });
  }
  return html`<form class="link-form" onSubmit=${submit}>
    <p class="quiet">${webhook
      ? `A secret address for a program elsewhere: its POSTs reach port ${port.port} without sign-in.`
      : `A secret address that opens port ${port.port} to whoever has it, without an account, after a click.`}</p>
    <label for="link-kind">For</label>
    <select id="link-kind" value=${kind} onChange=${(event) => setKind(event.target.value)} data-testid="link-kind"><option value="people">people</option><option value="webhook">a webhook</option></select>
    <label for="link-lasting">Opens for</label>
    <select id="link-lasting" name="lasting" data-testid="link-lasting">${LASTING.map(([value, words]) => html`<option value=${value} selected=${value === "1d"}>${words}</option>`)}</select>
    <label for="link-name">Name</label>
    <input class="input" id="link-name" name="name" maxlength="80" autocomplete="off" placeholder="who it is for; only you see it" data-testid="link-name" />
    <details class="link-more"><summary>Password, uses, path</summary><div class="link-form">
      ${!webhook && html`<label for="link-password">Password</label>
      <input class="input" id="link-password" name="password" type="password" minlength="6" autocomplete="new-password" placeholder="none" data-testid="link-password" />`}
      <label for="link-uses">${webhook ? "Calls" : "Browsers"}</label>
      <input class="input" id="link-uses" name="uses" type="number" min="1" max="1000000" inputmode="numeric" placeholder="any number" data-testid="link-uses" />
      <label for="link-path">Path</label>
      <input class="input" id="link-path" name="path" pattern="/.*" autocomplete="off" autocapitalize="none" spellcheck=${false} placeholder=${webhook ? "/, or for instance /hooks" : "/, or for instance /docs"} data-testid="link-path" />
    </div></details>
    <button type="submit" class="button primary" data-testid="link-create"><${Icon} name="link" />Make a link</button>
  </form>`;
}

function Made({ made, port, onMore }) {
  return html`<div class="link-made">
    <${Message} tone="good"><p>This is the only time that the whole link is shown. Copy it now.</p><//>
    <p class="mono small wrap link-url" data-testid="link-url">${made.url}</p>
    <div class="link-made-actions"><${CopyButton} text=${made.url} label="Copy the link" class="primary" /><button type="button" class="button" onClick=${onMore}>Make another</button></div>
    ${made.qr && html`<figure class="qr"><img src=${`data:image/svg+xml,${encodeURIComponent(made.qr)}`} alt="QR code of the link to port ${port.port}" width="200" height="200" data-testid="link-qr" /><figcaption class="quiet small">For a phone's camera</figcaption></figure>`}
  </div>`;
}

function Row({ link, revoke }) {
  const [tone, word] = STATES[link.state] ?? STATES.closed;
  const uses = link.max_uses ? `${link.uses} of ${link.max_uses} uses` : `${link.uses} ${link.uses === 1 ? "use" : "uses"}`;
  const until = link.expires_at ? `until ${new Date(link.expires_at).toLocaleString()}` : "until revoked";
  const facts = [link.kind === "webhook" && "webhook", link.path !== "/" && link.path, link.methods.join(" "), link.has_password && "password", uses, link.state === "open" && until, link.last_used_at && `last used ${ago(link.last_used_at)}`];
  return html`<li data-testid="link-row" data-state=${link.state}>
    <div><strong>${link.name || "Link without a name"}</strong> <span class="state ${tone}">${word}</span>
      <div class="quiet small">${facts.filter(Boolean).join(" · ")}</div></div>
    ${link.state === "open" && html`<button type="button" class="button compact" onClick=${() => revoke(link)} aria-label="Revoke ${link.name || "this link"}" data-testid="link-revoke">Revoke</button>`}
  </li>`;
}
