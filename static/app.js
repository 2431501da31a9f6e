// The dashboard: which address shows which page, and what all of them share.

import { client } from "./api.js";
import { Admin } from "./admin.js";
import { announcePorts } from "./announce.js";
import { Create } from "./create.js";
import { CodespacePage } from "./codespace.js";
import { Device } from "./device.js";
import { List } from "./list.js";
import { Live } from "./live.js";
import { LogPage } from "./log.js";
import { attempt, Icon, leave, Toasts } from "./parts.js";
import { Settings } from "./settings.js";
import { html, render, useEffect, useRef, useState } from "./vendor/preact.js";

const base = document.body.dataset.api;
const here = () => location.pathname + location.search;
const call = client(base, (path) => {
  if (path !== "/user/password") location.assign(`/sign-in?next=${encodeURIComponent(here())}`);
});
const live = new Live(call, base).start();

/** Goes to another page of ours without loading it anew. */
export function go(path, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", path);
  dispatchEvent(new Event("portico-go"));
}

function followLinks(event) {
  const link = event.target.closest?.("a[href^='/']");
  if (!link || link.target || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(link.getAttribute("href"));
  scrollTo(0, 0);
}

function Page({ path, user, reload }) {
  const [, first, name, part, id] = path.pathname.split("/");
  const shared = { call, live, user, go };
  if (first === "") return html`<${List} ...${shared} />`;
  if (first === "new") return html`<${Create} ...${shared} query=${path.searchParams} />`;
  if (first === "settings") return html`<${Settings} ...${shared} reload=${reload} />`;
  if (first === "device") return html`<${Device} ...${shared} />`;
  if (first === "admin") return html`<${Admin} key=${path.href} ...${shared} path=${path} />`;
  if (part === "log") return html`<${LogPage} key=${path.pathname} ...${shared} name=${decodeURIComponent(name)} port=${decodeURIComponent(id)} />`;
  return html`<${CodespacePage} key=${name} ...${shared} name=${decodeURIComponent(name)} terminal=${id} base=${base} />`;
}

function Bar({ user }) {
  const signOut = () => attempt(async () => {
    leave(await call("POST", "/sign-out", {}));
  });
  return html`<header class="bar">
    <a class="skip" href="#main" onClick=${(event) => (event.preventDefault(), event.stopPropagation(), document.querySelector("h1")?.focus())}>Skip to the page</a>
    <a class="brand" href="/"><${Mark} />Portico</a>
    <nav aria-label="Main">
      ${user?.role === "admin" && html`<a class="button plain compact" href="/admin" data-testid="admin">Admin</a>`}
      <a class="button plain compact" href="/settings" data-testid="settings">${user?.name ?? "Settings"}</a>
      <button type="button" class="button plain compact" onClick=${signOut} data-testid="sign-out">Sign out</button>
    </nav>
  </header>`;
}

export const Mark = () => html`<svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><path class="mark-stone" d="M7 25V15.5a9 9 0 0 1 18 0V25M4 26.5h24" /><path class="mark-door" d="M12.5 25v-9a3.5 3.5 0 0 1 7 0v9z" /></svg>`;

function PasswordHint({ user, path }) {
  const [hidden, setHidden] = useState(sessionStorage.getItem("portico-password-later"));
  if (!user || user.has_password || user.may_have_own_ways === false || hidden || path.pathname === "/settings") return null;
  const later = () => (sessionStorage.setItem("portico-password-later", "1"), setHidden(true));
  return html`<aside class="hint-bar" aria-label="Password">
    <span><${Icon} name="lock" /> You came in by a one-time link. Set a password to get back in later.</span>
    <span><a class="button compact" href="/settings">Set a password</a> <button type="button" class="button plain compact" onClick=${later}>Later</button></span>
  </aside>`;
}

function App() {
  const [path, setPath] = useState(new URL(location.href));
  const [user, setUser] = useState();
  const first = useRef(true);
  const load = () => attempt(async () => setUser(await call("GET", "/user")));
  useEffect(() => {
    const moved = () => setPath(new URL(location.href));
    addEventListener("popstate", moved);
    addEventListener("portico-go", moved);
    document.addEventListener("click", followLinks);
    load();
    const share = (codespace, port) => go(`/codespaces/${codespace.name}?port=${port.port}`);
    return live.subscribe(() => announcePorts(live, { share }));
  }, []);
  useEffect(() => {
    if (!first.current && !path.pathname.includes("/terminals/")) document.querySelector("h1")?.focus();
    first.current = false;
  }, [path.pathname]);
  return html`<${Bar} user=${user} /><${PasswordHint} user=${user} path=${path} />
    <main id="main" class=${path.pathname.startsWith("/codespaces/") ? "wide" : ""}><${Page} path=${path} user=${user} reload=${load} /></main><${Toasts} />`;
}

render(html`<${App} />`, document.querySelector("#app"));
