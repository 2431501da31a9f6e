// The warning before a stranger's public port: whoever goes on is not asked again on the codespace's other public ports.
// Without this script the form does the same for this port alone.

/** Longest wait for the other ports, in milliseconds. */
const SIBLINGS_MS = 1500;

const form = document.querySelector("form");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const init = { method: "POST", mode: "cors", credentials: "include", cache: "no-store" };
  const tell = ({ dataset }) =>
    fetch(`${dataset.origin}/.portico/warning`, { ...init, body: new URLSearchParams({ next: "/" }), signal: AbortSignal.timeout(SIBLINGS_MS) });
  await Promise.allSettled([...document.querySelectorAll("[data-origin]")].map(tell));
  form.action += location.hash;
  form.submit();
});
