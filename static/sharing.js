// For administrators: what is closed of what people share, and why, and how far they may share at all.

import { Ceilings } from "./ceiling.js";
import { ago, attempt, Dialog, Icon, Message, toast } from "./parts.js";
import { html, useEffect, useState } from "./vendor/preact.js";

const KINDS = {
  port: { word: "A port", label: "Codespace and port", hint: "amber-otter-x7k2:3000, or the address of what it serves", placeholder: "NAME:PORT" },
  codespace: { word: "A codespace", label: "Codespace", hint: "All its ports and links.", placeholder: "NAME" },
  user: { word: "An account", label: "Account", hint: "All that it shares. It can still sign in and work; suspending it is on the page of people.", placeholder: "NAME" },
  all: { word: "Everything", hint: "All that anybody shares on this gateway." },
};

/** What a closure is about, in words. */
function inWords(what) {
  const [kind, name, port] = what.split(":");
  if (kind === "all") return "Everything that is shared";
  if (kind === "user") return html`All that <strong>${name}</strong> shares`;
  if (kind === "codespace") return html`Codespace <strong class="mono wrap">${name}</strong>`;
  return html`Port <strong>${port}</strong> of <strong class="mono wrap">${name}</strong>`;
}

/** The target that a form names; the address of a port's host will do for the port. */
function target(kind, text) {
  if (kind === "all") return "all";
  const host = text.trim().toLowerCase().replace(/^https?:\/\//, "").replace(/[/?#].*$/, "");
  const asHost = kind === "port" && host.includes(".") && host.split(".")[0].match(/^(.+)-(\d+)$/);
  return `${kind}:${asHost ? `${asHost[1]}:${asHost[2]}` : host}`;
}

export function Sharing({ call }) {
  const [closed, setClosed] = useState();
  const [opening, setOpening] = useState();
  const load = () => attempt(async () => setClosed(await call("GET", "/sharing/closed")));
  useEffect(() => void load(), []);
  const open = () =>
    attempt(async () => {
      await call("DELETE", `/sharing/closed/${encodeURIComponent(opening.what)}`);
      setOpening(undefined);
      toast("It is open again, as its owners have set it.", { tone: "good" });
    }).then(load);
  if (!closed) return html`<p class="quiet" role="status">Loading…</p>`;
  return html`<div>
    ${closed.length === 0 && html`<p class="quiet" data-testid="nothing-closed">Nothing is closed: what people share is open to whom they share it with.</p>`}
    <ul class="rows" data-testid="closed">${closed.map((one) => html`<li class="row" key=${one.what} data-testid="closed-row" data-what=${one.what}>
      <div class="row-main"><span class="wrap">${inWords(one.what)}</span> <span class="state bad"><${Icon} name="lock" />Closed</span></div>
      <div class="row-facts"><span>since <time datetime=${one.at} title=${new Date(one.at).toLocaleString()}>${ago(one.at)}</time> by ${one.by}</span></div>
      <p class="row-reason">${one.reason}</p>
      <div class="row-actions"><button type="button" class="button" onClick=${() => setOpening(one)} data-testid="open-again">Open again</button></div>
    </li>`)}</ul>
    <${Close} ...${{ call, load }} />
    <h2 class="apart">How far owners may share</h2>
    <${Ceilings} call=${call} />
    ${opening && html`<${Dialog} title="Open it again?" onClose=${() => setOpening(undefined)}>
      <p>${inWords(opening.what)}: whoever could open it before can do so again at once, as its owners have set it by now.</p>
      <div class="dialog-actions"><button type="button" class="button" onClick=${() => setOpening(undefined)} autofocus>Cancel</button><button type="button" class="button primary" onClick=${open} data-testid="confirm">Open again</button></div>
    <//>`}
  </div>`;
}

function Close({ call, load }) {
  const [kind, setKind] = useState("port");
  const [problem, setProblem] = useState();
  const { label, hint, placeholder } = KINDS[kind];
  async function close(event) {
    event.preventDefault();
    const form = event.target;
    setProblem(undefined);
    try {
      const done = await call("PUT", `/sharing/closed/${encodeURIComponent(target(kind, form.elements.name?.value ?? ""))}`, { reason: form.elements.reason.value });
      form.reset();
      setKind("port");
      toast(`Closed to everybody but its owners: ${done.what}.`, { tone: "good" });
      load();
    } catch (refusal) {
      setProblem(refusal);
    }
  }
  return html`<form class="panel" onSubmit=${close} data-testid="close-sharing"><h2>Close what is shared</h2>
    <p class="quiet small">At once, open connections included. Visitors see what they would see of something private; owners keep their own access, and read the reason.</p>
    ${problem && html`<${Message}><p>${problem.message}</p><//>`}
    <div class="inline-form">
      <div class="field"><label for="close-kind">What</label><select id="close-kind" name="kind" value=${kind} onChange=${(event) => setKind(event.target.value)} data-testid="close-kind">${Object.entries(KINDS).map(([value, { word }]) => html`<option value=${value} selected=${value === kind}>${word}</option>`)}</select></div>
      ${label && html`<div class="field"><label for="close-name">${label}</label><input class="input" id="close-name" name="name" required placeholder=${placeholder} autocomplete="off" autocapitalize="none" spellcheck=${false} aria-describedby="close-hint" data-testid="close-name" /></div>`}
      <div class="field"><label for="close-reason">Reason, for its owners</label><input class="input" id="close-reason" name="reason" required maxlength="200" autocomplete="off" data-testid="close-reason" /></div>
      <button class="button danger" type="submit" data-testid="close-now"><${Icon} name="lock" />Close</button>
    </div>
    <p class="quiet small hint-line" id="close-hint">${hint}</p>
  </form>`;
}
