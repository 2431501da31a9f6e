// For administrators: how far owners may share at all. What a lower ceiling closes is shown before it does.

import { attempt, Dialog, Icon, Message, toast } from "./parts.js";
import { html, useEffect, useState } from "./vendor/preact.js";

const MOST = [
  ["public", "Public", "anyone on the network who has the address"],
  ["org", "Organisation", "people with an account here, of the owner's organisation"],
  ["private", "Private", "the owner and the people named"],
];
const wordOf = (visibility) => MOST.find(([value]) => value === visibility)?.[1] ?? visibility;
const shares = (count) => (count === 1 ? "1 share" : `${count} shares`);

export function Ceilings({ call }) {
  const [ceilings, setCeilings] = useState();
  const [asking, setAsking] = useState();
  const [problem, setProblem] = useState();
  const load = () => attempt(async () => setCeilings(await call("GET", "/ceilings")));
  useEffect(() => void load(), []);
  const ask = async (wanted) => {
    setProblem(undefined);
    try {
      const { closes } = await call("PUT", "/ceilings", { ...wanted, dry_run: true });
      setAsking({ wanted, closes });
    } catch (refusal) {
      setProblem(refusal);
    }
  };
  const save = () =>
    attempt(async () => {
      const { closes } = await call("PUT", "/ceilings", asking.wanted);
      setAsking(undefined);
      toast(closes.length ? `It holds now, and closed ${shares(closes.length)}.` : "It holds now. Nothing had to be closed.", { tone: "good" });
    }).then(load);
  if (!ceilings) return html`<p class="quiet" role="status">Loading…</p>`;
  return html`<div>
    <ul class="rows" data-testid="ceilings">${ceilings.map((ceiling) => html`<${Row} key=${`${ceiling.source} ${ceiling.organisation ?? ""}`} ...${{ ceiling, ask }} />`)}</ul>
    <${Set} ...${{ ask, problem }} />
    <p class="quiet small hint-line">The lowest that applies to an owner counts, so nothing here allows more than the configuration does. What is closed keeps its settings, and opens again when the ceiling is raised.</p>
    ${asking && html`<${Confirm} ...${{ ...asking, save }} onClose=${() => setAsking(undefined)} />`}
  </div>`;
}

function Row({ ceiling: { organisation, max_visibility, links, source }, ask }) {
  const whom = organisation ?? "Everybody";
  return html`<li class="row" data-testid="ceiling" data-source=${source}>
    <div class="row-main"><strong class="wrap">${whom}</strong>
      <span class="state ${max_visibility === "public" ? "idle" : "good"}"><${Icon} name=${{ private: "lock", org: "people" }[max_visibility] ?? "globe"} />At most ${wordOf(max_visibility).toLowerCase()}</span></div>
    <div class="row-facts"><span>${links && max_visibility === "public" ? "Share links open ports" : "Share links open nothing"}</span>
      <span>${source === "set" ? "Set here" : html`From the configuration, <span class="mono">[sharing]</span>`}</span></div>
    ${source === "set" && html`<div class="row-actions"><button type="button" class="button plain" onClick=${() => ask({ organisation, max_visibility: "public", links: true })} aria-label="Take back the ceiling of ${whom}" data-testid="take-back">Take back</button></div>`}
  </li>`;
}

function Set({ ask, problem }) {
  const submit = (event) => {
    event.preventDefault();
    const { most, links, organisation } = event.target.elements;
    ask({ organisation: organisation.value.trim() || null, max_visibility: most.value, links: links.checked });
  };
  return html`<form class="panel" onSubmit=${submit} data-testid="set-ceiling"><h2>Set a ceiling</h2>
    ${problem && html`<${Message}><p>${problem.message}</p><//>`}
    <div class="inline-form">
      <div class="field"><label for="ceiling-most">Ports are at most</label><select id="ceiling-most" name="most">${MOST.map(([value, word]) => html`<option value=${value}>${word}</option>`)}</select></div>
      <div class="field"><label for="ceiling-organisation">For the organisation</label><input class="input" id="ceiling-organisation" name="organisation" maxlength="200" placeholder="everybody" autocomplete="off" autocapitalize="none" spellcheck=${false} /></div>
      <label class="check"><input type="checkbox" name="links" defaultChecked /> Share links open ports</label>
      <button class="button" type="submit" data-testid="ceiling-preview">See what it closes</button>
    </div>
    <p class="quiet small hint-line">Nothing changes before you have seen the list. Links open nothing where ports cannot be public.</p>
  </form>`;
}

function Confirm({ wanted: { organisation, max_visibility, links }, closes, save, onClose }) {
  const whom = organisation ? `members of ${organisation}` : "everybody";
  const open = max_visibility === "public" && links;
  const [, , means] = MOST.find(([value]) => value === max_visibility);
  return html`<${Dialog} title=${open ? `Take back the ceiling for ${whom}?` : `Set the ceiling for ${whom}?`} onClose=${onClose}>
    <p>${open ? "Only the configuration and other ceilings hold then. What owners had shared opens again." : html`Ports open at most to: <strong>${means}</strong>.${max_visibility === "public" && " Share links open nothing."}`}</p>
    ${closes.length === 0
      ? html`<p data-testid="closes-nothing">Nothing that is open now would be closed.</p>`
      : html`<p>This closes ${shares(closes.length)} at once, open connections too:</p>
        <ul class="closes" tabindex="0" aria-label="What is closed" data-testid="closes">${closes.map((share) => html`<li class="wrap"><span class="mono">${share.codespace}</span>, port ${share.port}, of ${share.owner}: ${share.link ? html`the link ${share.link.name ? `“${share.link.name}”` : html`<span class="mono">${share.link.id}</span>`} opens nothing` : `${wordOf(share.visibility).toLowerCase()} becomes ${wordOf(share.becomes).toLowerCase()}`}</li>`)}</ul>`}
    <div class="dialog-actions"><button type="button" class="button" onClick=${onClose} autofocus>Cancel</button><button type="button" class="button ${closes.length ? "danger" : "primary"}" onClick=${save} data-testid="confirm">${closes.length ? `Close ${shares(closes.length)}` : open ? "Take it back" : "Set it"}</button></div>
  <//>`;
}
