// Signing a command line in: a person types the code that it shows, sees what it asks for, and decides. The code never
// comes from a link, so that nobody can be led to grant what somebody else began.

import { useTitle } from "./hooks.js";
import { ago, Icon, Message } from "./parts.js";
import { html, useEffect, useRef, useState } from "./vendor/preact.js";

/** What a scope lets its holder do, in words. */
export function scopeWords(scope) {
  const [kind, name, port] = String(scope).split(":");
  if (kind === "all") return "everything that you may do, your account included";
  if (kind === "read") return "see everything that you may see, and change nothing";
  if (kind === "codespace") return html`work with the codespace <span class="mono">${name}</span> and share its ports`;
  if (kind === "port") return html`open port ${port} of <span class="mono">${name}</span>`;
  return scope;
}

/** A code as it is shown: capitals, with a dash in the middle. */
function tidy(text) {
  const letters = text.toUpperCase().replace(/[^A-Z]/g, "").slice(0, 8);
  return letters.length > 4 ? `${letters.slice(0, 4)}-${letters.slice(4)}` : letters;
}

function words(problem) {
  if (problem.slug === "no-such-code") return "There is no request with this code. Check it against your terminal; codes are good for 10 minutes and work once.";
  if (problem.status === 429) return `${problem.message} Too many codes were wrong.`;
  return problem.message;
}

export function Device({ call, user }) {
  useTitle("Sign in a command line");
  const [code, setCode] = useState("");
  const [seen, setSeen] = useState();
  const [done, setDone] = useState();
  const [problem, setProblem] = useState();
  const [busy, setBusy] = useState(false);
  async function run(action) {
    setBusy(true);
    setProblem(undefined);
    try {
      await action();
    } catch (refusal) {
      if (refusal.slug === "no-such-code") setSeen(undefined);
      setProblem(refusal);
    }
    setBusy(false);
  }
  const look = (event) => {
    event.preventDefault();
    run(async () => setSeen(await call("POST", "/device/request", { user_code: code })));
  };
  const decide = (grant) =>
    run(async () => {
      await call("POST", "/device/decision", { user_code: code, grant });
      setDone(grant ? "granted" : "declined");
    });
  const step = done ? html`<${Done} granted=${done === "granted"} />` : seen ? html`<${Decide} ...${{ seen, user, busy, decide }} />` : html`<${Type} ...${{ code, setCode, look, busy }} />`;
  return html`<div class="narrow">
    <h1 tabindex="-1">Sign in a command line</h1>
    ${problem && html`<${Message}><p>${words(problem)}</p><//>`}
    ${step}
  </div>`;
}

const Type = ({ code, setCode, look, busy }) => html`<form class="panel" onSubmit=${look}>
  <div class="field">
    <label for="code">The code in your terminal</label>
    <input class="input mono code-input" id="code" name="code" value=${code} onInput=${(event) => setCode((event.target.value = tidy(event.target.value)))} required pattern="[A-Z]{4}-[A-Z]{4}" title="Eight letters, such as BCDF-GHJK" placeholder="XXXX-XXXX" autocomplete="off" autocapitalize="characters" spellcheck=${false} autofocus data-testid="device-code" aria-describedby="code-hint" />
    <span class="hint" id="code-hint"><span class="mono">portico login</span> shows it. Type only a code that you asked for yourself: whoever shows it gets your access.</span>
  </div>
  <button class="button primary" type="submit" disabled=${busy} data-testid="device-look">Continue</button>
</form>`;

function Decide({ seen, user, busy, decide }) {
  const ref = useRef();
  useEffect(() => ref.current?.focus(), []);
  return html`<section class="panel" aria-labelledby="device-title" data-testid="device-request">
    <h2 id="device-title" tabindex="-1" ref=${ref}>Let this command line act as ${user?.name ?? "you"}?</h2>
    <dl class="facts wide-facts">
      <div><dt>Machine, as it calls itself</dt><dd class="mono wrap">${seen.machine || "it does not say"}</dd></div>
      <div><dt>Asked from the address</dt><dd class="mono wrap">${seen.address ?? "unknown"}</dd></div>
      <div><dt>It may</dt><dd data-testid="device-scope">${scopeWords(seen.scope)}</dd></div>
      <div><dt>Until</dt><dd>${seen.token_expires_at ? new Date(seen.token_expires_at).toLocaleString() : "you revoke it"}</dd></div>
      <div><dt>Asked</dt><dd>${ago(seen.asked_at)}</dd></div>
    </dl>
    <${Message} tone="wait"><p>Did somebody send you this code, or tell you to type it? Then decline: they would get in, not you.</p><//>
    <div class="form-actions">
      <button type="button" class="button primary" disabled=${busy} onClick=${() => decide(true)} data-testid="device-grant"><${Icon} name="check" />Allow</button>
      <button type="button" class="button" disabled=${busy} onClick=${() => decide(false)} data-testid="device-decline">Decline</button>
    </div>
  </section>`;
}

function Done({ granted }) {
  const ref = useRef();
  useEffect(() => ref.current?.focus(), []);
  return html`<section class="panel"><h2 tabindex="-1" ref=${ref} data-testid="device-done">${granted ? "The command line is signed in" : "Declined"}</h2>
    <p>${granted ? "Go back to your terminal; it goes on by itself. You can close this page." : "The command line was told so, and got nothing."}</p>
    ${granted && html`<p class="quiet small">It is listed among the access tokens in your <a href="/settings">settings</a>, where you can revoke it at any time.</p>`}
  </section>`;
}
