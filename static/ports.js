// Ports: who may open them, and their addresses.

import { LinksDialog } from "./links.js";
import { Advice } from "./mend.js";
import { Offer } from "./offer.js";
import { attempt, CopyButton, Dialog, Icon, Message } from "./parts.js";
import { html, useEffect, useRef, useState } from "./vendor/preact.js";

const VISIBILITIES = {
  private: { icon: "lock", word: "Private", means: "Only you and the people you named." },
  org: { icon: "people", word: "Organisation", means: "Everyone who has an account on this gateway." },
  public: { icon: "globe", word: "Public", means: "Anyone on the network who has the address, without signing in." },
};

/** Whose visits start a codespace that sleeps. */
export const WAKERS = { owner: "You alone", people: "Whoever is signed in and may open it", everyone: "Whoever may open a port, links included" };

const LASTING = [[3600, "1 hour"], [8 * 3600, "8 hours"], [86_400, "1 day"], [7 * 86_400, "7 days"], [30 * 86_400, "30 days"]];

/** Whether the operator's ceiling lies below. */
const above = (visibility, port) => Object.keys(VISIBILITIES).indexOf(visibility) > Object.keys(VISIBILITIES).indexOf(port.max_visibility || "public");

const inSeconds = (seconds) => new Date(Date.now() + seconds * 1000).toISOString();

/** What of the owner's is closed, as they would say it. */
const closedWhat = (what) => ({ all: "everything that is shared here", user: "everything that you share", codespace: "this codespace", port: "this port" })[what.split(":")[0]] ?? what;

export function Ports({ codespace, call, live }) {
  const ports = [...(codespace.ports ?? [])].sort((a, b) => a.port - b.port);
  const offer = html`<${Offer} ...${{ codespace, call, live }} />`;
  if (ports.length === 0) return html`${offer}<p class="quiet small">Nothing listens yet. Start a server in a terminal and its port shows up here.</p>`;
  return html`${offer}<ul class="ports">${ports.map((port) => html`<${Row} key=${port.port} ...${{ codespace, port, call, live }} />`)}</ul>`;
}

function Row({ codespace, port, call, live }) {
  const [asking, setAsking] = useState(false);
  const [more, setMore] = useState(false);
  const [linking, setLinking] = useState(false);
  const wanted = Boolean(call) && new URLSearchParams(location.search).get("port") === String(port.port);
  useEffect(() => wanted && setMore(true), [wanted]);
  const { icon, word, means } = VISIBILITIES[port.visibility] ?? VISIBILITIES.private;
  async function change(what) {
    await attempt(async () => {
      const changed = await call("PATCH", `/codespaces/${codespace.name}/ports/${port.port}`, what);
      const current = live.codespaces.get(codespace.name) ?? codespace;
      live.put({ ...current, ports: current.ports.map((other) => (other.port === port.port ? { ...other, ...changed } : other)) });
      setMore(false);
    });
    live.tell();
  }
  function set(visibility, lasting) {
    setAsking(false);
    return change({ visibility, ...(lasting && { expires_at: inSeconds(lasting) }) });
  }
  function choose(event) {
    const { value } = event.target;
    event.target.value = port.visibility;
    if (value === "public") setAsking(true);
    else set(value);
  }
  return html`<li class="port" data-testid="port-row" data-port=${port.port} data-visibility=${port.visibility}>
    <div class="port-head">
      <strong class="port-number">${port.port}</strong>
      <span class="port-what">${port.label || port.process || (port.listening ? "unknown program" : "")}</span>
      ${!port.listening && html`<span class="state idle"><${Icon} name="pause" />Not listening</span>`}
    </div>
    <a class="port-url" href=${port.url} target="_blank" rel="noopener" data-testid="port-url">${port.url.replace(/^https?:\/\/|\/$/g, "")}</a>
    <div class="port-actions">
      ${call
        ? html`<label><span class="visually-hidden">Who may open port ${port.port}</span><span class="select-with-icon"><${Icon} name=${icon} />
            <select class="compact" value=${port.visibility} onChange=${choose} data-testid="port-visibility" title=${means}>
              ${Object.entries(VISIBILITIES).map(([value, { word }]) => html`<option value=${value} selected=${value === port.visibility} disabled=${above(value, port)}>${word}${above(value, port) ? " (not allowed here)" : ""}</option>`)}
            </select></span></label>`
        : html`<span class="state idle" title=${means}><${Icon} name=${icon} />${word}</span>`}
      <span class="port-buttons">
        <${CopyButton} text=${port.url} label="Copy the address of port ${port.port}" />
        ${call && html`<button type="button" class="button plain compact" aria-label="Links to port ${port.port}" title="Share by a link" onClick=${() => setLinking(true)} data-testid="port-links"><${Icon} name="link" /></button>`}
        ${call && html`<a class="button plain compact" href="/codespaces/${codespace.name}/log/${port.port}" aria-label="Request log of port ${port.port}" title=${port.log_entries ? "Request log: on" : "Request log"} data-testid="port-log"><${Icon} name="list" /></a>`}
        ${call && html`<button type="button" class="button plain compact" aria-expanded=${more ? "true" : "false"} aria-label="Options of port ${port.port}" title="People, deadline, label, protocol, host, who starts it, limits" onClick=${() => setMore(!more)} data-testid="port-more"><${Icon} name="more" /></button>`}
      </span>
    </div>
    ${more && html`<${Options} port=${port} change=${change} onClose=${() => setMore(false)} />`}
    <${Advice} port=${port} change=${call && change} />
    ${port.closed && html`<${Message} tone="bad"><p data-testid="port-closed"><strong>An administrator closed ${closedWhat(port.closed.what)} to everybody but you:</strong> ${port.closed.reason} <span class="quiet small">(${port.closed.by}, ${new Date(port.closed.at).toLocaleString()})</span></p><//>`}
    ${port.users?.length > 0 && html`<p class="quiet small" data-testid="port-people">Also for ${port.users.join(", ")}</p>`}
    ${port.expires_at && port.visibility !== "private" && html`<p class="quiet small" data-testid="port-until">Until ${new Date(port.expires_at).toLocaleString()}, then private</p>`}
    ${port.woken_by && html`<p class="quiet small" data-testid="port-wakers">Started by visits of: ${(WAKERS[port.woken_by] ?? port.woken_by).toLowerCase()}</p>`}
    ${port.limits && html`<p class="quiet small" data-testid="port-limits">Limited to ${inWords(port.limits)}</p>`}
    ${port.links > 0 && html`<p class="quiet small" data-testid="port-link-count">Also for whoever has ${port.links === 1 ? "the link" : `one of ${port.links} links`}</p>`}
    ${linking && html`<${LinksDialog} ...${{ codespace, port, call }} onClose=${() => setLinking(false)} />`}
    ${asking && html`<${Publish} port=${port} onClose=${() => setAsking(false)} onConfirm=${(lasting) => set("public", lasting)} />`}
  </li>`;
}

const MIB = 1024 * 1024;

/** Limits as a person reads them. */
const inWords = (limits) => [
  limits.requests_per_second && `${limits.requests_per_second} ${limits.requests_per_second === 1 ? "request" : "requests"} a second`,
  limits.connections && `${limits.connections} at once`,
  limits.body_bytes !== undefined && `bodies of ${limits.body_bytes < MIB ? `${limits.body_bytes} bytes` : `${Math.round((limits.body_bytes / MIB) * 100) / 100} MiB`}`,
  limits.addresses?.length > 0 && `clients from ${limits.addresses.join(", ")}`,
].filter(Boolean).join(", ");

/** The limits that a form says; null for none. */
function limitsOf({ rate, connections, body, addresses }, before) {
  const limits = {};
  if (rate.value) limits.requests_per_second = Number(rate.value);
  if (connections.value) limits.connections = Number(connections.value);
  // A number that was not touched stays exactly what it was.
  if (body.value) limits.body_bytes = body.value === body.defaultValue && before?.body_bytes !== undefined ? before.body_bytes : Math.round(Number(body.value) * MIB);
  const ranges = addresses.value.split(/[\s,;]+/).filter(Boolean);
  if (ranges.length > 0) limits.addresses = ranges;
  return Object.keys(limits).length > 0 ? limits : null;
}

/** What is set on a port beside who may open it. */
function Options({ port, change, onClose }) {
  const ref = useRef();
  useEffect(() => {
    const button = document.activeElement;
    ref.current.elements.people.focus();
    return () => button?.focus?.();
  }, []);
  const shared = port.visibility !== "private";
  function save(event) {
    event.preventDefault();
    const { label, protocol, host, people, until } = event.target.elements;
    const what = { label: label.value.trim() || null, protocol: protocol.value, host_header: host.value };
    what.limits = limitsOf(event.target.elements, port.limits);
    what.woken_by = event.target.elements.wakers.value || null;
    what.users = people.value.toLowerCase().split(/[\s,;]+/).filter(Boolean);
    if (until && until.value !== "keep") what.expires_at = until.value ? inSeconds(until.value) : null;
    change(what);
  }
  const id = (part) => `port-${port.port}-${part}`;
  const option = (value, now, words) => html`<option value=${value} selected=${value === now}>${words}</option>`;
  return html`<form class="port-options" ref=${ref} onSubmit=${save} onKeyDown=${(event) => event.key === "Escape" && onClose()} data-testid="port-options">
    <label for=${id("people")}>People</label>
    <input class="input compact" id=${id("people")} name="people" autocomplete="off" autocapitalize="none" spellcheck=${false} placeholder="names, with commas" defaultValue=${(port.users ?? []).join(", ")} aria-describedby=${id("people-hint")} data-testid="port-users" />
    <span class="hint" id=${id("people-hint")}>Accounts that may open it, whoever else may.</span>
    ${shared && html`<label for=${id("until")}>${VISIBILITIES[port.visibility]?.word}</label>
    <select class="compact" id=${id("until")} name="until" data-testid="port-deadline">
      ${port.expires_at && html`<option value="keep" selected>until ${new Date(port.expires_at).toLocaleString()}</option>`}
      <option value="" selected=${!port.expires_at}>without an end</option>
      ${LASTING.map(([seconds, words]) => html`<option value=${seconds}>for ${words}</option>`)}
    </select>`}
    <label for=${id("label")}>Label</label>
    <input class="input compact" id=${id("label")} name="label" maxlength="80" autocomplete="off" placeholder=${port.process || "none"} defaultValue=${port.label ?? ""} />
    <label for=${id("protocol")}>The app speaks</label>
    <select class="compact" id=${id("protocol")} name="protocol">${option("http", port.protocol, "http")}${option("https", port.protocol, "https")}${option("h2c", port.protocol, "HTTP/2 without TLS")}${option("grpc", port.protocol, "gRPC")}</select>
    <label for=${id("host")}>The app is told it is</label>
    <select class="compact" id=${id("host")} name="host">${option("localhost", port.host_header, `localhost:${port.port}`)}${option("preserve", port.host_header, "at its public address")}</select>
    <label for=${id("wakers")}>Started by visits of</label>
    <select class="compact" id=${id("wakers")} name="wakers" aria-describedby=${id("wakers-hint")} data-testid="port-woken-by">
      ${option("", port.woken_by ?? "", "as set for the codespace")}${Object.entries(WAKERS).map(([word, label]) => option(word, port.woken_by, label))}
    </select>
    <span class="hint" id=${id("wakers-hint")}>Who starts the stopped codespace by visiting this port.</span>
    <details class="port-limits" open=${Boolean(port.limits)}>
      <summary>Limits</summary>
      <p class="hint">For all who open it, you too. Nothing is limited where nothing is written.</p>
      <div class="port-limit-fields">
        <label for=${id("rate")}>Requests a second</label>
        <input class="input compact" id=${id("rate")} name="rate" type="number" min="1" max="4294967295" step="1" inputmode="numeric" placeholder="any" defaultValue=${port.limits?.requests_per_second ?? ""} data-testid="port-limit-rate" />
        <label for=${id("connections")}>At once</label>
        <input class="input compact" id=${id("connections")} name="connections" type="number" min="1" max="4294967295" step="1" inputmode="numeric" placeholder="any" defaultValue=${port.limits?.connections ?? ""} aria-describedby=${id("connections-hint")} data-testid="port-limit-connections" />
        <span class="hint" id=${id("connections-hint")}>Requests and sockets under way.</span>
        <label for=${id("body")}>MiB in a body</label>
        <input class="input compact" id=${id("body")} name="body" type="number" min="0" step="any" inputmode="decimal" placeholder="any" defaultValue=${port.limits?.body_bytes === undefined ? "" : port.limits.body_bytes / MIB} data-testid="port-limit-body" />
        <label for=${id("addresses")}>From addresses</label>
        <input class="input compact" id=${id("addresses")} name="addresses" autocomplete="off" autocapitalize="none" spellcheck=${false} placeholder="10.0.0.0/8, 2001:db8::/32" defaultValue=${(port.limits?.addresses ?? []).join(", ")} data-testid="port-limit-addresses" />
      </div>
    </details>
    <div class="form-actions"><button type="submit" class="button compact">Save</button><button type="button" class="button plain compact" onClick=${onClose}>Cancel</button></div>
  </form>`;
}

function Publish({ port, onClose, onConfirm }) {
  const [lasting, setLasting] = useState("28800");
  return html`<${Dialog} title="Make port ${port.port} public?" onClose=${onClose}>
    <p><strong>Anyone who has or guesses the address</strong> can then use what runs on port ${port.port}, without signing in, for as long as it is public:</p>
    <p class="mono small wrap">${port.url}</p>
    <${Message} tone="wait"><p>The app sees strangers' requests as they are. Do not publish anything with debug pages, secrets or write access that you would not put on the open internet.</p><//>
    <div class="field"><label for="public-for">Public</label><select id="public-for" value=${lasting} onChange=${(event) => setLasting(event.target.value)} data-testid="public-for">
      ${LASTING.map(([seconds, words]) => html`<option value=${String(seconds)} selected=${String(seconds) === lasting}>for ${words}</option>`)}
      <option value="">until somebody ends it</option>
    </select></div>
    <div class="dialog-actions">
      <button type="button" class="button" onClick=${onClose} autofocus>Keep it ${VISIBILITIES[port.visibility]?.word.toLowerCase() ?? "private"}</button>
      <button type="button" class="button danger" onClick=${() => onConfirm(lasting)} data-testid="confirm-public"><${Icon} name="globe" />Make it public</button>
    </div>
  <//>`;
}
