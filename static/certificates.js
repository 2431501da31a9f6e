// For administrators: how long each certificate of the gateway is good, what went wrong, and what comes next.

import { usePolling } from "./hooks.js";
import { ago, attempt, Icon, Message, toast } from "./parts.js";
import { html, useState } from "./vendor/preact.js";

const STATES = {
  good: ["good", "check", "Good"],
  expires_soon: ["wait", "alert", "Expires soon"],
  expired: ["bad", "alert", "Expired"],
  not_yet: ["bad", "alert", "Not good yet"],
  missing: ["bad", "alert", "Missing"],
};
const SOURCES = {
  files: "From files that the configuration names",
  local: "From this machine's own authority",
  acme: "By ACME",
};
const HOSTS = { gateway: "this page and signing in", codespaces: "codespaces and their ports" };

const DAY = 86_400_000;

/** A time from now, with its date where that is more than a day. */
function When({ at }) {
  const time = new Date(at);
  const far = Math.abs(time - Date.now()) > DAY;
  return html`<time datetime=${at} title=${time.toLocaleString()}>${ago(at)}${far && ` (${time.toLocaleDateString()})`}</time>`;
}

export function Certificates({ call }) {
  const [certificates, setCertificates] = useState();
  const load = () => attempt(async () => setCertificates(await call("GET", "/certificates")));
  usePolling(() => void load(), 15_000, []);
  const tryNow = () =>
    attempt(async () => {
      await call("POST", "/certificates/try");
      toast("It is tried now. This page says what comes of it.");
      setTimeout(load, 2000);
    });
  if (!certificates) return html`<p class="quiet" role="status">Loading…</p>`;
  if (!certificates.length) {
    return html`<${Message} tone="info"><p>This gateway speaks plain HTTP. If browsers reach it over https, the proxy in front of it has the certificates.</p><//>`;
  }
  return html`<ul class="rows" data-testid="certificates">${certificates.map((certificate) => html`<${Certificate} key=${certificate.hosts} ...${certificate} tryNow=${tryNow} />`)}</ul>
    <p class="quiet small hint-line">New files are read within seconds, or at once at SIGHUP. On the gateway's machine <span class="mono">portico check</span> says what is wrong, too.</p>`;
}

function Certificate({ hosts, name, source, state, expires_at, valid_from, last_error, last_error_at, next_try_at, tryNow }) {
  const [tone, icon, word] = STATES[state] ?? ["idle", "info", state];
  return html`<li class="row" data-testid="certificate" data-hosts=${hosts} data-state=${state}>
    <div class="row-main"><strong class="wrap">${name}</strong> <span class="state ${tone}"><${Icon} name=${icon} />${word}</span></div>
    <div class="row-facts">
      <span>For ${HOSTS[hosts] ?? hosts}</span>
      <span>${SOURCES[source] ?? "Nobody gives one"}</span>
      ${state === "not_yet" && html`<span>Good <${When} at=${valid_from} />, or this machine's clock is wrong</span>`}
      ${expires_at && html`<span>${state === "expired" ? "Ended" : "Ends"} <${When} at=${expires_at} /></span>`}
      ${next_try_at && html`<span>${last_error || state === "missing" ? "Next try" : "Renewed by itself"} <${When} at=${next_try_at} /></span>`}
    </div>
    ${last_error && html`<p class="row-reason" data-testid="certificate-error">Failed <${When} at=${last_error_at} />: ${last_error}</p>`}
    <${Advice} ...${{ state, source, hosts, failed: Boolean(last_error) }} />
    ${last_error && source !== "files" && html`<div class="row-actions"><button type="button" class="button" onClick=${tryNow} aria-label="Try ${name} now" data-testid="try-now">Try now</button></div>`}
  </li>`;
}

/** What to do about it. */
function Advice({ state, source, hosts, failed }) {
  const text =
    state === "good" && !failed
      ? ""
      : !source
        ? hosts === "codespaces"
          ? "Browsers refuse to go there. Name a wildcard certificate in tls.certificate, or set acme.hook."
          : "Browsers refuse to go there. Name a certificate in tls.certificate, or turn on ACME."
        : source === "files" && (failed || state !== "good")
          ? "Put a new certificate and its key in place of the old files; they are read by themselves."
          : failed
            ? "It is tried again by itself."
            : "";
  return text && html`<p class="row-reason quiet">${text}</p>`;
}
