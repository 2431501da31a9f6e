// What a codespace's own host shows while it has no editor: terminals, ports, and how to get one.

import { client } from "./api.js";
import { Icon, Message, State, titleOf, Toasts } from "./parts.js";
import { announcePorts } from "./announce.js";
import { Ports } from "./ports.js";
import { usePolling } from "./hooks.js";
import { Staying } from "./staying.js";
import { Terminals } from "./terminals.js";
import { html, render, useState } from "./vendor/preact.js";

const { name, api: base } = document.body.dataset;

/** Signs in again by loading the page anew, but not over and over. */
function signInAgain() {
  if (Date.now() - Number(sessionStorage.getItem("portico-signed-out") ?? 0) < 60_000) return;
  sessionStorage.setItem("portico-signed-out", Date.now());
  location.reload();
}

const call = client(base, signInAgain);

/** The button that wakes it: a person's own step, because this page looking again must not. */
function Asleep({ codespace }) {
  if (!["stopped", "stopping", "failed"].includes(codespace.state)) return null;
  return html`<${Message} tone="info"><p><strong>${codespace.state === "failed" ? "It did not start." : "It is not running."}</strong> ${codespace.stopped_because && `Why: ${codespace.stopped_because}. `}What was saved is still there.</p>
    <form method="post" action="/.portico/wake" class="row-actions"><input type="hidden" name="next" value="/" /><button class="button primary" data-testid="wake">Start it</button></form><//>`;
}

function Workbench() {
  const [codespace, setCodespace] = useState();
  const [problem, setProblem] = useState();
  const [selected, setSelected] = useState();
  usePolling(() => call("GET", `/codespaces/${name}`).then((found) => {
    if (found.editor === "ready") return location.reload();
    setProblem(undefined);
    setCodespace(found);
    announcePorts({ codespaces: new Map([[name, found]]) });
  }, setProblem), 4000, []);
  if (!codespace) return problem ? html`<main><${Message}>${problem.message}<//></main>` : html`<main><p class="quiet" role="status">Loading…</p></main>`;
  const go = (path) => setSelected(path.split("/").at(-1));
  return html`<main id="main" class="wide"><div class="codespace">
      <header class="page-head"><div class="head-words"><div class="head-line"><h1 tabindex="-1">${titleOf(codespace)}</h1><${State} codespace=${codespace} /></div>
        <p class="row-facts">${codespace.ref && html`<span><${Icon} name="branch" /> ${codespace.ref}</span>`}<span class="mono">${name}</span></p></div></header>
      <${Asleep} codespace=${codespace} />
      <${Staying} ...${{ codespace, call }} changed=${setCodespace} />
      <div class="columns">
        <section class="work" aria-label="Terminals and log"><${Terminals} ...${{ codespace, call, base, go, selected }} /></section>
        <aside class="side" tabindex="0" aria-label="Editor and ports">
          <section class="panel"><h2>No editor yet</h2>
            <p class="small">This machine has no editor that runs in the browser. Whoever runs the gateway can add one:</p>
            <pre class="command"><code>portico editor install</code></pre>
            <p class="quiet small">Stop and start the codespace after that, and this page becomes VS Code. Terminals and ports work meanwhile.</p>
          </section>
          <section class="panel"><h2>Ports</h2><${Ports} codespace=${codespace} /></section>
        </aside>
      </div></div></main><${Toasts} />`;
}

render(html`<${Workbench} />`, document.querySelector("#app"));
