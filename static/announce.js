// Ports that begin to listen: what each does then, as its owner or the repository's devcontainer.json says.

import { dismissToast, Icon, toast } from "./parts.js";
import { html } from "./vendor/preact.js";

/** Most ports whose toasts somebody does not want, kept by the browser. */
const QUIET_MAX = 200;

const seen = new Map();

/** Looks for ports that began to listen since the last look; `share` is called with a codespace and a port where they can be shared. */
export function announcePorts(live, { share } = {}) {
  for (const codespace of live.codespaces.values()) {
    const listening = (codespace.ports ?? []).filter((port) => port.listening);
    const before = seen.get(codespace.name);
    seen.set(codespace.name, new Set(listening.map((port) => port.port)));
    if (!before) continue;
    for (const port of listening) if (!before.has(port.port)) announce(codespace, port, share);
  }
}

function announce(codespace, port, share) {
  const id = `${codespace.name}:${port.port}`;
  const what = port.on_auto_forward || "notify";
  if (what === "silent" || what === "ignore" || quiet().includes(id)) return;
  if ((what === "openBrowser" || (what === "openBrowserOnce" && !sessionStorage.getItem(`portico-opened ${id}`))) && mayOpen(codespace)) {
    sessionStorage.setItem(`portico-opened ${id}`, "1");
    window.open(port.url, "_blank", "noopener");
  }
  const key = `port ${id}`;
  const name = port.label || port.process;
  const close = (after) => () => (dismissToast(key), after?.());
  toast(html`Port <strong>${port.port}</strong>${name && ` (${name})`} is up in <span class="mono">${codespace.name}</span>.`, {
    key,
    actions: html`<a class="button primary compact" href=${port.url} target="_blank" rel="noopener" onClick=${close()} data-testid="toast-open"><${Icon} name="open" />Open</a>
      ${share && html`<button type="button" class="button compact" onClick=${close(() => share(codespace, port))} data-testid="toast-share"><${Icon} name="people" />Share</button>`}
      <button type="button" class="button plain compact" onClick=${close(() => beQuiet(id))} title="Show no more of these for this port" data-testid="toast-ignore">Ignore</button>`,
    seconds: 20,
  });
}

/** A page opens by itself only beside its codespace, and while the person is doing something: else browsers forbid it. */
const mayOpen = (codespace) => location.pathname.startsWith(`/codespaces/${codespace.name}`) && navigator.userActivation?.isActive === true;

function quiet() {
  try {
    const list = JSON.parse(localStorage.getItem("portico-quiet-ports") ?? "[]");
    return Array.isArray(list) ? list : [];
  } catch {
    return [];
  }
}

function beQuiet(id) {
  localStorage.setItem("portico-quiet-ports", JSON.stringify([...quiet(), id].slice(-QUIET_MAX)));
}
