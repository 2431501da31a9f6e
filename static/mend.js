// What the doctor advises for a port, with the one thing to press that does it.

import { attempt, Icon, Message } from "./parts.js";
import { html, useState } from "./vendor/preact.js";

/** What may be set by a link from a page of a codespace's host; all else in such a link is left alone. */
const SETTINGS = {
  protocol: { http: "speaks plain HTTP", https: "speaks HTTPS", h2c: "speaks HTTP/2 without TLS" },
  host_header: { localhost: "wants to be asked as localhost" },
};

/** Reads what the page of a port that did not answer sent its owner here for. */
function wanted(query) {
  const port = Number(query.get("port"));
  const [name, value] = Object.keys(SETTINGS).map((name) => [name, query.get(name)]).find(([name, value]) => Object.hasOwn(SETTINGS[name], value ?? "")) ?? [];
  const then = query.get("then") ?? "/";
  return Number.isInteger(port) && port > 0 && port < 65_536 && name ? { port, name, value, then: then.startsWith("/") ? then : "/" } : undefined;
}

/** Offers to set what an app needs, and goes back to the app when it is set. */
export function Mend({ codespace, call, live }) {
  const [ask, setAsk] = useState(() => wanted(new URL(location.href).searchParams));
  const [busy, setBusy] = useState(false);
  if (!ask) return null;
  const { port, name, value, then } = ask;
  async function mend() {
    setBusy(true);
    await attempt(async () => {
      const changed = await call("PATCH", `/codespaces/${codespace.name}/ports/${port}`, { [name]: value });
      live.tell();
      const own = new URL(changed.url);
      const back = new URL(then, own);
      location.assign(back.origin === own.origin ? back : own);
    });
    setBusy(false);
  }
  return html`<${Message} tone="wait">
    <p><strong>Port ${port} ${SETTINGS[name][value]}.</strong> Set its <code>${name}</code> to <code>${value}</code>, and go back to the app?</p>
    <p class="row-actions">
      <button type="button" class="button primary" disabled=${busy} onClick=${mend} data-testid="mend">Set ${name} to ${value}</button>
      <button type="button" class="button plain" onClick=${() => setAsk()}>Leave it</button>
    </p>
  <//>`;
}

/** What an app on a port refused lately, and what mends it. */
export function Advice({ port, change }) {
  if (!port.advice) return null;
  const [setting] = Object.entries(port.advice.set ?? {});
  return html`<div class="port-advice" data-testid="port-advice" role="note">
    <p class="small"><${Icon} name="alert" /> ${port.advice.detail} ${port.advice.advice}</p>
    ${setting && change && html`<button type="button" class="button compact" onClick=${() => change(Object.fromEntries([setting]))} data-testid="port-mend">Set ${setting[0]} to ${setting[1]}</button>`}
  </div>`;
}
