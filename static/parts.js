// The pieces that pages are made of: icons, states, copy buttons, dialogs, toasts.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";

const PATHS = {
  play: "M8 5.5v13l10-6.5z",
  stop: "M7 7h10v10H7z",
  pause: "M9 6v12M15 6v12",
  bin: "M5 7h14M10 7V5h4v2M7 7l1 12h8l1-12M10.5 11v4.5M13.5 11v4.5",
  open: "M14 5h5v5M19 5l-8 8M10 6H5v13h13v-5",
  copy: "M9 9h10v10H9zM15 9V5H5v10h4",
  check: "M5 12.5l4.5 4.5L19 7.5",
  more: "M4.5 12h2M11 12h2M17.5 12h2",
  edit: "M5 19l1-4L16 5l3 3L9 18zM13.5 7.5l3 3",
  plus: "M12 5v14M5 12h14",
  cross: "M6 6l12 12M18 6L6 18",
  alert: "M12 4l9 15.5H3zM12 10v4.5M12 17h.01",
  info: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5.5M12 7.5h.01",
  lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  people: "M9 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM3.5 19a5.5 5.5 0 0 1 11 0M16 5.5a3 3 0 0 1 0 5M17 14a5.5 5.5 0 0 1 3.5 5",
  globe: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM3 12h18M12 3c3 3 3 15 0 18M12 3c-3 3-3 15 0 18",
  terminal: "M4 5h16v14H4zM7.5 9.5l3 2.5-3 2.5M12.5 15h4",
  branch: "M7 4v12M7 20a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM17 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM17 8c0 5-10 3-10 8",
  list: "M9 7h11M9 12h11M9 17h11M4.5 7h.01M4.5 12h.01M4.5 17h.01",
  wait: "M12 3a9 9 0 1 1-9 9",
  link: "M10.5 13.5a4 4 0 0 0 6 .4l2.5-2.5a4 4 0 0 0-5.7-5.7L12 7M13.5 10.5a4 4 0 0 0-6-.4L5 12.6a4 4 0 0 0 5.7 5.7L12 17",
  unplug: "M9 3v5M15 3v5M7 8h10v3a5 5 0 0 1-10 0zM12 16v5",
};

export const Icon = ({ name, spin }) =>
  html`<svg class=${spin ? "icon spin" : "icon"} viewBox="0 0 24 24" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;

const STATES = {
  creating: ["wait", "wait", "Creating", true],
  starting: ["wait", "wait", "Starting", true],
  running: ["good", "play", "Running"],
  away: ["wait", "unplug", "Reconnecting"],
  "own away": ["idle", "unplug", "Away"],
  "own running": ["good", "check", "Connected"],
  stopping: ["idle", "wait", "Stopping", true],
  stopped: ["idle", "pause", "Stopped"],
  failed: ["bad", "alert", "Failed"],
  deleting: ["idle", "bin", "Deleting"],
};

/** Whether a codespace is on its way to another state. */
export const isMoving = ({ state }) => ["creating", "starting", "stopping", "deleting"].includes(state);

/** Whether it is a machine of its owner's, which nobody here starts or stops. */
export const isOwnMachine = ({ runtime }) => runtime === "external";

export function State({ codespace }) {
  const now = codespace.state === "running" && codespace.connected === false ? "away" : codespace.state;
  const state = isOwnMachine(codespace) ? `own ${now}` : now;
  const [tone, icon, word, spin] = STATES[state] ?? STATES[now] ?? ["idle", "info", state];
  return html`<span class="state ${tone}" data-state=${codespace.state}><${Icon} name=${icon} spin=${spin} />${word}</span>`;
}

/** What a codespace is called where its full name stands beside. */
export const titleOf = (codespace) => codespace.display_name || shortRepository(codespace.repository) || codespace.name;

export function shortRepository(url) {
  const path = String(url ?? "").replace(/^[a-z+]+:\/\/[^/]*\//i, "").replace(/^[^/@]+@[^:]+:/, "").replace(/\.git$/, "").replace(/\/+$/, "");
  return path.split("/").filter(Boolean).slice(-2).join("/");
}

/** Goes on after a sign-out: to the provider that vouched for the sign-in, if it has a say, or to the page for the next one. */
export function leave(elsewhere) {
  if (elsewhere && typeof elsewhere === "object" && elsewhere.at_once) return location.assign(elsewhere.url);
  if (elsewhere && typeof elsewhere === "object") sessionStorage.setItem("portico-signed-out", JSON.stringify(elsewhere));
  location.assign("/sign-in");
}

/** How long ago a time was, in words. */
export function ago(text) {
  const seconds = (Date.now() - Date.parse(text)) / 1000;
  if (!Number.isFinite(seconds)) return "never";
  const units = [["day", 86_400], ["hour", 3600], ["minute", 60]];
  const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) ?? [];
  if (!unit) return seconds < 0 ? "in a moment" : "just now";
  return new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(-Math.round(seconds / size), unit);
}

export function CopyButton({ text, label, word = "Copy", class: kind = "plain compact" }) {
  const [copied, setCopied] = useState(false);
  async function copy() {
    await navigator.clipboard.writeText(text).catch(() => prompt("Copy this:", text));
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  }
  return html`<button type="button" class="button ${kind}" onClick=${copy} aria-label=${copied ? "Copied" : label} title=${label}>
    <${Icon} name=${copied ? "check" : "copy"} /><span>${copied ? "Copied" : word}</span>
  </button>`;
}

export const Message = ({ tone = "bad", children }) =>
  html`<div class="message ${tone}" role=${tone === "bad" ? "alert" : "status"}>
    <${Icon} name=${tone === "good" ? "check" : tone === "bad" ? "alert" : "info"} /><div>${children}</div>
  </div>`;

/** A dialog that is open as long as it is there; Escape and the backdrop call `onClose`. */
export function Dialog({ title, onClose, children }) {
  const ref = useRef();
  useEffect(() => {
    const before = document.activeElement;
    ref.current.showModal();
    return () => before?.focus?.();
  }, []);
  const backdrop = (event) => event.target === ref.current && onClose();
  return html`<dialog ref=${ref} class="dialog" aria-labelledby="dialog-title" onCancel=${(event) => (event.preventDefault(), onClose())} onClick=${backdrop}>
    <div class="dialog-body"><h2 id="dialog-title">${title}</h2>${children}</div>
  </dialog>`;
}

let toasts = [];
let showToasts = () => undefined;
let lastToast = 0;

/** Shows a toast; `actions` is any markup. A toast of the same key replaces the one before. */
export function toast(text, { key = text, actions, tone = "info", seconds = 12 } = {}) {
  const id = (lastToast += 1);
  toasts = [...toasts.filter((other) => other.key !== key), { id, key, text, actions, tone }].slice(-4);
  showToasts(toasts);
  setTimeout(() => dismiss(id), seconds * 1000);
}

/** Takes away the toast of a key, if it is there. */
export const dismissToast = (key) => toasts.filter((other) => other.key === key).forEach(({ id }) => dismiss(id));

function dismiss(id) {
  toasts = toasts.filter((other) => other.id !== id);
  showToasts(toasts);
}

export function Toasts() {
  const [list, setList] = useState(toasts);
  showToasts = setList;
  return html`<div class="toasts" role="status" aria-live="polite">
    ${list.map(
      ({ id, text, actions, tone }) => html`<div class="toast ${tone}" key=${id} data-testid="toast">
        <${Icon} name=${{ bad: "alert", good: "check" }[tone] ?? "info"} />
        <div class="toast-text">${text}${actions && html`<div class="toast-actions">${actions}</div>`}</div>
        <button type="button" class="button plain compact" aria-label="Dismiss" onClick=${() => dismiss(id)}><${Icon} name="cross" /></button>
      </div>`,
    )}
  </div>`;
}

/** Runs an action and shows what went wrong, if anything, as a toast. */
export async function attempt(action) {
  try {
    return await action();
  } catch (problem) {
    toast(problem.message, { tone: "bad" });
    return undefined;
  }
}
