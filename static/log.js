// The request log of a port: what was asked and answered, who came, and asking again.
//
// Everything in it came from visitors and apps. It is shown as text, and characters that turn or hide text are made visible.

import { usePolling, useTitle } from "./hooks.js";
import { ago, attempt, CopyButton, Dialog, Icon, Message, titleOf, toast } from "./parts.js";
import { html, useEffect, useRef, useState } from "./vendor/preact.js";

const KEEP = [50, 100, 250, 500, 1000];
const SAFE = ["GET", "HEAD", "OPTIONS"];
const POLL_MS = 2000;

const HIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Text from outside as it may stand on a page. */
const safely = (text) => String(text ?? "").replace(HIDDEN, "\ufffd");

export function LogPage({ call, live, name, port }) {
  const path = `/codespaces/${encodeURIComponent(name)}/ports/${encodeURIComponent(port)}`;
  const [state, setState] = useState({});
  const [chosen, setChosen] = useState();
  const [filter, setFilter] = useState("");
  const turn = useRef(0);
  useTitle(`Request log of port ${port}`);
  async function load() {
    const mine = (turn.current += 1);
    try {
      const [ports, log, visits] = await Promise.all([call("GET", `/codespaces/${encodeURIComponent(name)}/ports`), call("GET", `${path}/log?limit=1000`), call("GET", `${path}/visits`)]);
      const view = ports.find((other) => String(other.port) === String(port));
      if (mine === turn.current) setState({ view, log, visits });
    } catch (problem) {
      if (mine === turn.current) setState((before) => ({ ...before, problem }));
    }
  }
  usePolling(load, POLL_MS, [path]);
  async function change(method, what, path) {
    await attempt(() => call(method, path, what));
    await load();
  }
  const turnOn = (entries) => change("PATCH", { log_entries: entries }, path);
  const codespace = live.codespaces.get(name);
  const { view, log, visits, problem } = state;
  const entries = view?.log_entries;
  return html`<div class="log" data-testid="log-page">
    <header class="page-head"><div class="head-words">
      <p class="row-facts"><a href="/codespaces/${encodeURIComponent(name)}">${codespace ? titleOf(codespace) : name}</a></p>
      <div class="head-line"><h1 tabindex="-1">Request log of port ${port}</h1>
        ${log && html`<span class="state ${entries ? "good" : "idle"}" data-testid="log-state"><${Icon} name=${entries ? "check" : "pause"} />${entries ? "On" : "Off"}</span>`}</div>
      ${view && html`<p class="row-facts"><span>${safely(view.label || view.process || "")}</span> <a href=${view.url} target="_blank" rel="noopener">${view.url.replace(/^https?:\/\/|\/$/g, "")}</a></p>`}
    </div>
    ${entries && html`<div class="row-actions">
      <button type="button" class="button" disabled=${!log?.length} onClick=${() => (setChosen(undefined), change("DELETE", undefined, `${path}/log`))} data-testid="log-clear"><${Icon} name="bin" />Clear</button>
      <button type="button" class="button" onClick=${() => (setChosen(undefined), turnOn(null))} data-testid="log-off"><${Icon} name="stop" />Turn off</button>
    </div>`}</header>
    ${problem && !log && html`<${Message}><p>${problem.message}</p><//>`}
    ${!log && !problem && html`<p class="quiet" role="status">Loading…</p>`}
    ${log && !entries && html`<${Off} port=${port} turnOn=${turnOn} />`}
    ${log && entries && html`<div class="log-columns ${chosen ? "log-has-one" : ""}">
      <section class="log-side" aria-label="Exchanges"><${Exchanges} ...${{ log, entries, chosen, setChosen, filter, setFilter, view }} /></section>
      ${chosen && html`<section class="panel log-one" aria-label="One exchange"><${One} key=${chosen} ...${{ call, path, id: chosen, log, setChosen, load }} /></section>`}
    </div>`}
    ${log && entries && html`<${Visits} ...${{ visits, view }} />`}
  </div>`;
}

function Off({ port, turnOn }) {
  const [keep, setKeep] = useState("100");
  return html`<section class="panel log-off"><h2>Nothing is written down</h2>
    <p>Turn the log on to see each request to port ${port} and the app's answer as they happen, to copy one as a <span class="mono">curl</span> command, and to send one again. It also counts who visits, per hour.</p>
    <ul><li>Only you can read it: no visitor, no administrator, and no program inside the codespace.</li>
      <li>Cookies, credentials, keys and what looks like a token are taken out. Other data of your visitors is in it.</li>
      <li>It stays in the gateway's memory, and is forgotten when you turn it off or the gateway restarts.</li></ul>
    <div class="log-turn-on"><label for="log-keep">Keep the last</label>
      <select id="log-keep" class="compact" value=${keep} onChange=${(event) => setKeep(event.target.value)}>${KEEP.map((count) => html`<option value=${String(count)} selected=${String(count) === keep}>${count} exchanges</option>`)}</select>
      <button type="button" class="button primary" onClick=${() => turnOn(Number(keep))} data-testid="log-on"><${Icon} name="play" />Turn the log on</button></div>
  </section>`;
}

const matches = (filter) => (one) => `${one.method} ${one.target} ${one.status ?? ""} ${one.who}`.toLowerCase().includes(filter.trim().toLowerCase());

function Exchanges({ log, entries, chosen, setChosen, filter, setFilter, view }) {
  const shown = log.filter(matches(filter));
  function move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const rows = [...event.currentTarget.querySelectorAll("button")];
    const next = rows[rows.indexOf(document.activeElement) + step];
    if (!step || !next) return;
    event.preventDefault();
    next.focus();
  }
  return html`<div class="log-tools"><label class="visually-hidden" for="log-filter">Show only what contains</label>
      <input class="input" id="log-filter" type="search" placeholder="Filter by path, method, status or person" autocomplete="off" spellcheck=${false} value=${filter} onInput=${(event) => setFilter(event.target.value)} data-testid="log-filter" />
      <span class="quiet small">${shown.length === log.length ? log.length : `${shown.length} of ${log.length}`}, at most ${entries}</span></div>
    ${log.length === 0 && html`<p class="panel quiet" role="status">Nothing yet. <a href=${view?.url} target="_blank" rel="noopener">Open the port</a> and what is asked shows up here.</p>`}
    ${log.length > 0 && shown.length === 0 && html`<p class="panel quiet" role="status">Nothing matches.</p>`}
    ${shown.length > 0 && html`<ol class="log-list" onKeyDown=${move} data-testid="log-list">${shown.map((one) => html`<li key=${one.id}>
      <button type="button" class="log-row" aria-current=${one.id === chosen ? "true" : undefined} onClick=${() => setChosen(one.id)} data-testid="log-row" data-id=${one.id}>
        <span class="log-method mono">${one.websocket ? "WS" : safely(one.method)}</span>
        <span class="log-path mono">${safely(one.target)}</span>
        <${Status} one=${one} />
        <span class="log-facts quiet small"><span>${visitor(one)}</span><span>${took(one)}</span>${one.replay_of && html`<span>replay of ${one.replay_of}</span>`}<time datetime=${one.at} title=${one.at}>${ago(one.at)}</time></span>
      </button></li>`)}</ol>`}`;
}

function Status({ one }) {
  if (one.status) return html`<span class="state ${one.status >= 500 ? "bad" : one.status >= 400 ? "wait" : one.status >= 300 ? "idle" : "good"}">${one.websocket && one.took_ms === null ? "open" : one.status}</span>`;
  return one.took_ms === null ? html`<span class="state wait">waiting</span>` : html`<span class="state bad">no answer</span>`;
}

function visitor(one) {
  if (one.kind === "link") return one.who ? `link “${safely(one.who)}”` : "a link";
  if (one.kind === "anyone") return `stranger, ${one.address}`;
  return one.kind === "owner" ? "you" : safely(one.who);
}

const milliseconds = (count) => (count < 1000 ? `${count < 10 ? count.toFixed(1) : Math.round(count)} ms` : `${(count / 1000).toFixed(2)} s`);
const took = (one) => (one.took_ms === null ? "under way" : milliseconds(one.took_ms));
const bytes = (count) => (count < 1024 ? `${count} B` : count < 1024 ** 2 ? `${(count / 1024).toFixed(1)} KiB` : `${(count / 1024 ** 2).toFixed(1)} MiB`);

function One({ call, path, id, log, setChosen, load }) {
  const [one, setOne] = useState();
  const [gone, setGone] = useState(false);
  const [asking, setAsking] = useState(false);
  const heading = useRef();
  const latest = log.find((other) => other.id === id);
  const look = () => call("GET", `${path}/log/${id}`).then((found) => (setOne(found), setGone(false)), (problem) => setGone(problem.status === 404));
  // Again when the list says that something has changed.
  useEffect(() => void look(), [id, latest?.took_ms, latest?.status, latest?.sent_bytes, latest?.received_bytes, Boolean(latest)]);
  useEffect(() => heading.current?.focus(), [Boolean(one)]);
  async function replay() {
    setAsking(false);
    const made = await attempt(() => call("POST", `${path}/log/${id}/replay`, {}));
    if (!made) return;
    toast(`Sent again, as exchange ${made.id}.`, { key: "replay", tone: "good", seconds: 5 });
    await load();
    setChosen(made.id);
  }
  const close = html`<button type="button" class="button plain compact log-close" onClick=${() => back(id, setChosen)} data-testid="log-close"><${Icon} name="cross" />Close</button>`;
  if (!one) return html`${close}<p class="quiet" role="status">${gone ? "This exchange is no longer kept: newer ones took its place." : "Loading…"}</p>`;
  const facts = [
    ["Answer", one.status ? `${one.status}${one.websocket ? ", a WebSocket" : ""}` : one.took_ms === null ? "none yet" : "none"],
    ["From", `${visitor(one)}${one.kind === "anyone" ? "" : `, ${one.address}`}, by ${one.protocol}`],
    ["When", new Date(one.at).toLocaleString()],
    ["Time", one.first_byte_ms === null ? took(one) : `${took(one)}, first byte after ${milliseconds(one.first_byte_ms)}`],
    ["Size", `${bytes(one.sent_bytes)} sent, ${bytes(one.received_bytes)} received${one.websocket && one.took_ms === null ? ", known at its end" : ""}`],
    ["Trace", html`<span class="mono">${safely(one.trace_id)}</span>`],
    one.replay_of && ["Replay of", `exchange ${one.replay_of}`],
  ];
  return html`<div class="log-one-head"><h2 class="wrap mono" tabindex="-1" ref=${heading} data-testid="log-title">${safely(one.method)} ${safely(one.target)}</h2>${close}</div>
    ${gone && html`<${Message} tone="info"><p>This exchange is no longer kept.</p><//>`}
    ${one.trouble && html`<${Message}><p>${safely(one.trouble)}</p><//>`}
    <div class="log-actions"><${CopyButton} text=${one.curl} label="Copy as a curl command" word="Copy as curl" class="" />
      <button type="button" class="button" disabled=${Boolean(one.not_replayable)} aria-describedby=${one.not_replayable ? "log-why-not" : undefined} onClick=${() => (SAFE.includes(one.method) ? replay() : setAsking(true))} data-testid="log-replay"><${Icon} name="play" />Send again</button>
      ${one.not_replayable && html`<span class="quiet small" id="log-why-not">Cannot be sent again: ${one.not_replayable}.</span>`}</div>
    <dl class="facts log-facts-list">${facts.filter(Boolean).map(([term, value]) => html`<div key=${term}><dt>${term}</dt><dd class="wrap">${value}</dd></div>`)}</dl>
    <${Part} name="Request" part=${one.request} size=${one.sent_bytes} websocket=${one.websocket} />
    ${one.status && html`<${Part} name="Response" part=${one.response} size=${one.received_bytes} websocket=${one.websocket} />`}
    ${asking && html`<${Dialog} title="Send it again?" onClose=${() => setAsking(false)}>
      <p>The app gets <span class="mono wrap">${safely(one.method)} ${safely(one.target)}</span> once more, as a request of yours, and does again whatever it did.</p>
      ${one.request.fields.some((field) => field.removed) && html`<p class="quiet">Fields from which a secret was taken out are left out.</p>`}
      <div class="dialog-actions"><button type="button" class="button" onClick=${() => setAsking(false)} autofocus>Cancel</button>
        <button type="button" class="button primary" onClick=${replay} data-testid="log-confirm">Send again</button></div><//>`}
    <details class="log-curl"><summary>As a command</summary><pre class="log-body" tabindex="0" aria-label="curl command" data-testid="log-curl">${safely(one.curl)}</pre></details>`;
}

/** Closes the exchange, and puts the focus where it came from. */
function back(id, setChosen) {
  setChosen(undefined);
  setTimeout(() => document.querySelector(`[data-testid="log-row"][data-id="${Number(id)}"]`)?.focus());
}

function Part({ name, part, size, websocket }) {
  return html`<section class="log-part" data-testid="log-${name.toLowerCase()}"><h3>${name}</h3>
    <dl class="log-fields">${part.fields.map((field, index) => html`<div key=${index}><dt class="mono">${safely(field.name)}</dt><dd class="mono wrap">${safely(field.value)}${field.removed && html` <span class="quiet small log-removed">secret taken out</span>`}</dd></div>`)}</dl>
    ${part.fields_cut && html`<p class="quiet small">There were more fields than are kept.</p>`}
    ${part.body !== null && html`<pre class="log-body" tabindex="0" aria-label="Body of the ${name.toLowerCase()}">${safely(pretty(part))}</pre>`}
    ${part.body !== null && (part.body_cut || part.body_removed) && html`<p class="quiet small">${[part.body_cut && `The beginning of ${bytes(size)}.`, part.body_removed && "Secrets were taken out."].filter(Boolean).join(" ")}</p>`}
    ${part.body === null && size > 0 && !websocket && html`<p class="quiet small">A body of ${bytes(size)} that is no plain text is not kept.</p>`}
  </section>`;
}

/** A body as people read it. */
function pretty({ body, body_cut: cut }) {
  if (cut || !/^\s*[[{]/.test(body)) return body;
  try {
    return JSON.stringify(JSON.parse(body), undefined, 2);
  } catch {
    return body;
  }
}

const named = (list) => list.map((one) => `${safely(one.name) || "without a name"} ${one.requests}`).join(", ") || "–";

function Visits({ visits, view }) {
  const shared = view?.visibility !== "private" || view?.users?.length > 0 || view?.links > 0;
  return html`<section class="panel log-visits"><h2>Visits</h2>
    ${visits.length === 0 && html`<p class="quiet">${shared ? "Nobody else has come since the log was turned on." : "Only you can open this port. Share it, and who comes is counted here, per hour."}</p>`}
    ${visits.length > 0 && html`<div class="log-scroll" tabindex="0" role="region" aria-label="Visits per hour"><table data-testid="log-visits"><caption class="visually-hidden">Visits per hour, the latest first</caption>
      <thead><tr><th scope="col">Hour</th><th scope="col">Requests</th><th scope="col">People</th><th scope="col">By links</th><th scope="col">Strangers</th></tr></thead>
      <tbody>${visits.map((hour) => html`<tr key=${hour.hour}><th scope="row"><time datetime=${hour.hour}>${new Date(hour.hour).toLocaleString([], { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" })}</time></th>
        <td>${hour.requests}</td><td class="wrap">${named(hour.users)}</td><td class="wrap">${named(hour.links)}</td><td>${hour.strangers}${hour.more ? " or more" : ""}</td></tr>`)}</tbody></table></div>
      <p class="quiet small">Your own requests are not counted. Strangers are told apart by their addresses within an hour; the addresses are not kept here.</p>`}
  </section>`;
}
