// For administrators: accounts, how far owners may share and what is closed, certificates, what is left
// of codespaces that are no more, and what happened.

import { Certificates } from "./certificates.js";
import { useTitle } from "./hooks.js";
import { LeftBehind } from "./left_behind.js";
import { ago, attempt, Dialog, Icon, Message, toast } from "./parts.js";
import { Sharing } from "./sharing.js";
import { html, useEffect, useRef, useState } from "./vendor/preact.js";

export function Admin({ call, user, path }) {
  const [here, title, Section] = SECTIONS.find(([start]) => path.pathname.startsWith(start)) ?? SECTIONS.at(-1);
  useTitle(title);
  if (!user) return html`<p class="quiet" role="status">Loading…</p>`;
  if (user.role !== "admin") {
    return html`<div class="narrow"><h1 tabindex="-1">For administrators</h1><p>Your account is a member's. Ask an administrator of this gateway if you need more.</p><p><a class="button" href="/">Back to your codespaces</a></p></div>`;
  }
  return html`<div>
    <h1 tabindex="-1">${title}</h1>
    <nav class="sections" aria-label="Administration">${SECTIONS.toReversed().map(([start, word]) => html`<a href=${start} aria-current=${start === here ? "page" : undefined}>${word}</a>`)}</nav>
    <${Section} ...${{ call, user, query: path.searchParams }} />
  </div>`;
}

function People({ call, user }) {
  const [people, setPeople] = useState();
  const [asking, setAsking] = useState();
  const load = () => attempt(async () => setPeople(await call("GET", "/users")));
  useEffect(() => void load(), []);
  const change = (action, done) =>
    attempt(async () => {
      await action();
      setAsking(undefined);
      toast(done, { tone: "good" });
    }).then(load);
  return html`<div>
    <ul class="rows" data-testid="people">${(people ?? []).map((person) => html`<li class="row" key=${person.id} data-testid="person" data-name=${person.name}>
      <div class="row-main"><strong class="wrap">${person.name}</strong>
        ${person.role === "admin" && html`<span class="state good"><${Icon} name="lock" />Administrator</span>`}
        ${person.suspended && html`<span class="state bad"><${Icon} name="pause" />Suspended</span>`}
        ${person.id === user.id && html`<span class="quiet small">you</span>`}</div>
      <div class="row-facts">${person.email && html`<span>${person.email}</span>`}<span>since ${person.created_at ? new Date(person.created_at).toLocaleDateString() : "always"}</span>
        <a href="/admin/audit?user=${encodeURIComponent(person.name)}">What they did</a></div>
      <div class="row-actions">
        <button type="button" class="button" onClick=${() => setAsking({ person, what: "role" })} data-testid="change-role">${person.role === "admin" ? "Make a member" : "Make an administrator"}</button>
        ${person.suspended
          ? html`<button type="button" class="button" onClick=${() => change(() => call("POST", `/users/${person.name}/resume`), `${person.name} can sign in again.`)} data-testid="resume">Lift suspension</button>`
          : html`<button type="button" class="button plain" onClick=${() => setAsking({ person, what: "suspend" })} data-testid="suspend">Suspend</button>`}
      </div></li>`)}</ul>
    <${NewPerson} ...${{ call, load }} />
    ${asking && html`<${Confirm} ...${{ ...asking, own: asking.person.id === user.id, change, call }} onClose=${() => setAsking(undefined)} />`}
  </div>`;
}

function Confirm({ person, what, own, change, call, onClose }) {
  const up = person.role !== "admin";
  if (what === "role") {
    const save = () => change(() => call("PATCH", `/users/${person.name}`, { role: up ? "admin" : "member" }), `${person.name} is ${up ? "an administrator" : "a member"} now.`);
    return html`<${Dialog} title="${up ? "Make" : "Is"} ${person.name} ${up ? "an administrator?" : "to be a member only?"}" onClose=${onClose}>
      <p>${up ? "Administrators manage accounts, read the audit log, and may use folders of the gateway's machine." : "Members work with their own codespaces and what is shared with them."} The change takes effect at once${own ? ", and signs you out" : `, and signs ${person.name} out everywhere`}.</p>
      <div class="dialog-actions"><button type="button" class="button" onClick=${onClose} autofocus>Cancel</button><button type="button" class="button primary" onClick=${save} data-testid="confirm">${up ? "Make an administrator" : "Make a member"}</button></div>
    <//>`;
  }
  const suspend = () => change(() => call("POST", `/users/${person.name}/suspend`), `${person.name} is suspended.`);
  return html`<${Dialog} title="Suspend ${person.name}?" onClose=${onClose}>
    <p>${own ? "You are" : `${person.name} is`} signed out everywhere and every open connection is closed within a second. Tokens are refused for as long as the suspension lasts. Codespaces and their files stay.</p>
    <div class="dialog-actions"><button type="button" class="button" onClick=${onClose} autofocus>Cancel</button><button type="button" class="button danger" onClick=${suspend} data-testid="confirm">Suspend</button></div>
  <//>`;
}

function NewPerson({ call, load }) {
  const [problem, setProblem] = useState();
  async function create(event) {
    event.preventDefault();
    const form = event.target;
    const { name, password, admin } = form.elements;
    setProblem(undefined);
    try {
      const made = await call("POST", "/users", { name: name.value.trim().toLowerCase(), password: password.value, admin: admin.checked });
      form.reset();
      toast(`The account ${made.name} is there.`, { tone: "good" });
      load();
    } catch (refusal) {
      setProblem(refusal);
    }
  }
  return html`<form class="panel" onSubmit=${create} data-testid="new-person"><h2>Add somebody</h2>
    ${problem && html`<${Message}><p>${problem.message}</p><//>`}
    <div class="inline-form">
      <div class="field"><label for="person-name">Name</label><input class="input" id="person-name" name="name" required maxlength="39" autocomplete="off" autocapitalize="none" spellcheck=${false} /></div>
      <div class="field"><label for="person-password">First password</label><input class="input" id="person-password" name="password" type="password" required minlength="8" autocomplete="new-password" /></div>
      <label class="check"><input type="checkbox" name="admin" /> Administrator</label>
      <button class="button" type="submit"><${Icon} name="plus" />Add</button>
    </div>
    <p class="quiet small hint-line">Names have a-z, 0-9, dash, dot and underscore. Tell them the password in person; they can change it in their settings.</p>
  </form>`;
}

const FIELDS = [["user", "Person"], ["codespace", "Codespace"], ["event", "Event"]];
const SINCE = [["", "any time"], ["1h", "the last hour"], ["1d", "the last day"], ["7d", "the last week"], ["30d", "the last 30 days"]];

function Log({ call, query }) {
  const [wanted, setWanted] = useState(Object.fromEntries(query));
  const [events, setEvents] = useState();
  const [more, setMore] = useState(false);
  const asked = useRef(0);
  const ask = (cursor) => {
    const turn = (asked.current += 1);
    const search = new URLSearchParams(Object.entries({ ...wanted, cursor: cursor ?? "", limit: "50" }).filter(([, value]) => value));
    attempt(async () => {
      const page = await call("GET", `/audit?${search}`);
      if (turn !== asked.current) return;
      setEvents((before) => (cursor ? [...before, ...page] : page));
      setMore(page.length === 50);
    });
  };
  useEffect(() => ask(), [wanted]);
  const submit = (event) => {
    event.preventDefault();
    setWanted(Object.fromEntries([...new FormData(event.target)].map(([name, value]) => [name, String(value).trim()])));
  };
  return html`<form class="panel filters" onSubmit=${submit} role="search" aria-label="Audit events">
      ${FIELDS.map(([name, label]) => html`<div class="field"><label for="audit-${name}">${label}</label><input class="input compact" id="audit-${name}" name=${name} defaultValue=${wanted[name] ?? ""} placeholder=${name === "event" ? "session.refused" : ""} autocomplete="off" autocapitalize="none" spellcheck=${false} /></div>`)}
      <div class="field"><label for="audit-since">In</label><select id="audit-since" name="since">${SINCE.map(([value, label]) => html`<option value=${value} selected=${value === (wanted.since ?? "")}>${label}</option>`)}</select></div>
      <button class="button" type="submit" data-testid="audit-search">Show</button>
    </form>
    ${events?.length === 0 && html`<p class="quiet" role="status">No event matches.</p>`}
    ${events?.length > 0 && html`<ol class="events" data-testid="events">${events.map((event) => html`<li key=${event.id} data-event=${event.event}>
      <time datetime=${event.at} title=${event.at}>${new Date(event.at).toLocaleString()}</time>
      <strong class="mono">${event.event}</strong>
      <span class="wrap">${event.actor || "nobody known"}${event.target && event.target !== event.actor && html` → <span class="mono">${event.target}</span>`}</span>
      <span class="quiet small wrap">${[event.detail, event.address && `from ${event.address}`, event.request_id && `request ${event.request_id}`].filter(Boolean).join(" · ")}</span>
    </li>`)}</ol>`}
    ${more && html`<p><button type="button" class="button" onClick=${() => ask(events.at(-1).id)}>Show older events</button></p>`}
    <p class="quiet small">Newest first. Events cannot be changed or removed before their time. <span class="mono">portico audit --lines</span> gives all of them to a machine.</p>`;
}

const SECTIONS = [["/admin/audit", "Audit log", Log], ["/admin/left-behind", "Left behind", LeftBehind], ["/admin/certificates", "Certificates", Certificates], ["/admin/sharing", "Sharing", Sharing], ["/admin", "People", People]];
