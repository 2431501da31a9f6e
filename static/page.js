// Looks again, for pages that wait: goes on when what the page tells of is over.

const kind = document.body.dataset.watch;
const problemType = `urn:portico:${document.body.dataset.page}`;
const WAITING = [502, 503, 504];
const words = { pending: "waiting", running: "in progress", done: "done", skipped: "not needed", failed: "failed" };

/** Seconds until the next look: longer when reloads follow each other, so that no page reloads in a frenzy. */
function pause() {
  const [count, last] = JSON.parse(sessionStorage.getItem("portico-reloads") ?? "[0,0]");
  return Date.now() - last > 60_000 ? 1 : Math.min(30, 1 + count * count);
}

function reload() {
  const [count, last] = JSON.parse(sessionStorage.getItem("portico-reloads") ?? "[0,0]");
  const next = Date.now() - last > 60_000 ? 1 : count + 1;
  sessionStorage.setItem("portico-reloads", JSON.stringify([next, Date.now()]));
  location.reload();
}

function show(steps) {
  for (const step of steps) {
    const line = [...document.querySelectorAll("[data-step]")].find((item) => item.dataset.step === step.name);
    if (!line) continue;
    line.dataset.state = step.state;
    line.querySelector(".step-word").textContent = words[step.state] ?? step.state;
    line.querySelector(".step-detail").textContent = step.detail ?? "";
  }
}

/** Whether there is something else to see by now. */
async function changed() {
  const ask = { cache: "no-store", redirect: "manual", signal: AbortSignal.timeout(20_000) };
  if (kind === "status") {
    const answer = await fetch(location.href, { ...ask, method: "HEAD" });
    return !WAITING.includes(answer.status);
  }
  const answer = await fetch(location.href, { ...ask, headers: { accept: "application/problem+json" } });
  const isProblem = (answer.headers.get("content-type") ?? "").includes("problem+json");
  if (!isProblem) {
    await answer.body?.cancel();
    return !WAITING.includes(answer.status);
  }
  const problem = await answer.json();
  if (problem.type !== problemType) return true;
  show(problem.steps ?? []);
  return false;
}

async function watch() {
  for (;;) {
    // What rests changes when somebody does something.
    await new Promise((done) => setTimeout(done, (kind === "rest" ? Math.max(5, pause()) : pause()) * 1000));
    if (document.hidden) continue;
    try {
      if (await changed()) return reload();
    } catch {
      // The gateway itself is away; ask again.
    }
  }
}

/** For a page that waits for the person to come back from another tab. */
function watchReturn() {
  document.addEventListener("visibilitychange", () => document.hidden || reload());
}

if (kind === "return") watchReturn();
else watch();
