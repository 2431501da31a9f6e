// The terminals of a codespace as tabs, beside its log.

import { usePolling } from "./hooks.js";
import { attempt, Dialog, Icon } from "./parts.js";
import { Screen } from "./screen.js";
import { html, useEffect, useRef, useState } from "./vendor/preact.js";

/** A terminal's short name where it has no title of its own. */
const nameOf = (terminal, index) => terminal.title || `Terminal ${index + 1}`;

export function Terminals({ codespace, call, base, go, selected }) {
  const path = `/codespaces/${codespace.name}`;
  const [terminals, setTerminals] = useState();
  const [closing, setClosing] = useState();
  const opened = useRef(new Set());
  const running = codespace.state === "running";
  const reachable = running && codespace.connected !== false;
  usePolling(() => reachable && call("GET", `${path}/terminals`).then(setTerminals, () => undefined), 10_000, [reachable, codespace.name]);
  const list = running ? terminals ?? [] : [];
  const current = list.some((terminal) => terminal.id === selected) ? selected : selected === "log" || !list.length ? "log" : list[0].id;
  if (current !== "log") opened.current.add(current);
  const select = (id) => go(`${path}/terminals/${id}`, { replace: true });
  const create = () => attempt(async () => {
    const terminal = await call("POST", `${path}/terminals`, { cols: 80, rows: 24 });
    setTerminals((before) => [...(before ?? []).filter((other) => other.id !== terminal.id), terminal]);
    select(terminal.id);
  });
  const remove = (id) => attempt(async () => {
    setClosing(undefined);
    await call("DELETE", `${path}/terminals/${id}`);
    opened.current.delete(id);
    setTerminals((before) => before.filter((terminal) => terminal.id !== id));
  });
  const isGone = (id) => call("GET", `${path}/terminals`).then((found) => !found.some((terminal) => terminal.id === id), (problem) => problem.status === 404);
  const close = (terminal) => (terminal.running ? setClosing(terminal) : remove(terminal.id));
  return html`<div class="tabs-bar">
      <${Tabs} ...${{ list, current, select, close }} />
      ${running && html`<button type="button" class="button plain compact" onClick=${create} disabled=${!reachable} data-testid="new-terminal"><${Icon} name="plus" />New terminal</button>`}
    </div>
    ${list.filter((terminal) => opened.current.has(terminal.id)).map((terminal) => html`<div key=${terminal.id} id=${`panel-${terminal.id}`} role="tabpanel" aria-labelledby=${`tab-${terminal.id}`} class="tab-panel" hidden=${terminal.id !== current}>
        <${Screen} ...${{ codespace, terminal, url: `${base}${path}/terminals/${terminal.id}/attach`, shown: terminal.id === current, gone: () => isGone(terminal.id) }} />
      </div>`)}
    <div id="panel-log" role="tabpanel" aria-labelledby="tab-log" class="tab-panel" hidden=${current !== "log"}>
      ${running && terminals && !list.length && html`<p class="log-hint">No terminal is open. <button type="button" class="button compact" onClick=${create}><${Icon} name="terminal" />Open one</button></p>`}
      <${Log} ...${{ codespace, call, shown: current === "log" }} />
    </div>
    ${closing && html`<${Dialog} title="Close this terminal?" onClose=${() => setClosing(undefined)}>
      <p>Whatever runs in it ends.</p>
      <div class="dialog-actions"><button type="button" class="button" onClick=${() => setClosing(undefined)}>Keep it</button>
      <button type="button" class="button danger" onClick=${() => remove(closing.id)} autofocus data-testid="confirm-close">Close it</button></div>
    <//>`}`;
}

function Tabs({ list, current, select, close }) {
  const ref = useRef();
  useEffect(() => ref.current.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest", inline: "nearest" }), [current, list.length]);
  const ids = ["log", ...list.map((terminal) => terminal.id)];
  function move(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const at = ids.indexOf(current);
    const next = event.key === "Home" ? 0 : event.key === "End" ? ids.length - 1 : step && (at + step + ids.length) % ids.length;
    if (event.key === "Delete" && at > 0) return close(list[at - 1]);
    if (next === undefined) return;
    event.preventDefault();
    select(ids[next]);
    event.currentTarget.querySelectorAll("[role=tab]")[next].focus();
  }
  const tab = (id, words, icon, extra) => html`<span class="tab" key=${id} data-current=${id === current}>
    <button type="button" role="tab" id=${`tab-${id}`} aria-selected=${id === current ? "true" : "false"} aria-controls=${`panel-${id}`} tabindex=${id === current ? 0 : -1} onClick=${() => select(id)}><${Icon} name=${icon} /><span>${words}</span></button>${extra}</span>`;
  return html`<div class="tabs" ref=${ref} role="tablist" aria-label="Terminals and log" onKeyDown=${move}>
    ${tab("log", "Log", "info")}
    ${list.map((terminal, index) => {
      const name = nameOf(terminal, index);
      return tab(terminal.id, name, "terminal", html`<button type="button" class="tab-close" tabindex="-1" aria-label=${`Close ${name}`} title="Close (Delete)" onClick=${() => close(terminal)}><${Icon} name="cross" /></button>`);
    })}
  </div>`;
}

/** Removes what only a terminal can show. */
const plain = (text) => text.replace(/\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\-_])/g, "").replace(/[^\n]*\r(?!\n)/g, "");

function Log({ codespace, call, shown }) {
  const [text, setText] = useState("");
  const ref = useRef();
  const early = ["creating", "starting"].includes(codespace.state);
  usePolling(() => shown && call("GET", `/codespaces/${codespace.name}/logs`).then((log) => setText(plain(String(log ?? ""))), () => undefined), early ? 2000 : 6000, [shown, early, codespace.state]);
  const follows = !ref.current || ref.current.scrollHeight - ref.current.scrollTop - ref.current.clientHeight < 40;
  useEffect(() => {
    if (follows && ref.current) ref.current.scrollTop = ref.current.scrollHeight;
  }, [text, shown]);
  return html`<pre class="log" ref=${ref} tabindex="0" aria-label="Log" data-testid="log">${text || "Nothing logged yet."}</pre>`;
}
