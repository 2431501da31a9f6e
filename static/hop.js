// Carries a sign-in from one host to the next. The tickets stand in the page's form and never in an address. The fragment
// of the address that was asked for comes along by the browser's own redirects, and is handed on where a page ends them.

const { hop, next } = document.body.dataset;
const form = document.querySelector("form");
const words = document.querySelector("[data-hop-words]");

/** Longest wait for ports that only might be needed, in milliseconds. */
const SIBLINGS_MS = 1500;

function redeem(origin, ticket, init) {
  return fetch(`${origin}/.portico/redeem`, {
    method: "POST",
    body: new URLSearchParams({ ticket }),
    headers: { accept: "application/json" },
    cache: "no-store",
    ...init,
  });
}

function stay(text) {
  words.textContent = text;
  document.querySelector(".arch").dataset.sign = "trouble";
  form.hidden = false;
  form.querySelector("button").focus();
}

async function arrive() {
  const answer = await redeem("", form.elements.ticket.value, { credentials: "same-origin" });
  const { next: to } = answer.ok ? await answer.json() : {};
  // A path of this host, even where it begins with two slashes: never an address of its own.
  if (!to?.startsWith("/")) return stay("Signing in did not work, perhaps because it took too long. Go back and open the page again.");
  location.replace(location.origin + to + location.hash);
}

async function spread() {
  const cors = { mode: "cors", credentials: "include" };
  const siblings = [...document.querySelectorAll("[data-origin]")].map((item) =>
    redeem(item.dataset.origin, item.value, { ...cors, signal: AbortSignal.timeout(SIBLINGS_MS) }).catch(() => undefined),
  );
  const primary = await redeem(new URL(form.action).origin, form.elements.ticket.value, cors);
  if (!primary.ok) return stay("This did not go through by itself. The button takes you there.");
  const enough = new Promise((done) => setTimeout(done, SIBLINGS_MS));
  await Promise.race([Promise.all(siblings), enough]);
  location.replace(next + location.hash);
}

function carry() {
  form.action += location.hash;
  form.requestSubmit();
}

const steps = { carry, arrive, spread };
Promise.resolve()
  .then(() => steps[hop]?.())
  .catch(() => stay("This did not go through by itself. The button takes you there."));
