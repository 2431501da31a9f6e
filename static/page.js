// Looks again, for pages that wait: goes on when what the page tells of is over.

let kind = document.body.dataset.watch;
let problemType = `urn:portico:${document.body.dataset.page}`;
/** Of these nothing is to be had by loading anew, but that the codespace would be woken by a page that nobody looks at. */
const RESTING = ["urn:portico:codespace-stopped", "urn:portico:codespace-stopping"];
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

const isProblem = (answer) => (answer.headers.get("content-type") ?? "").includes("problem+json");

/** Says in place that the codespace stopped meanwhile, with the button that starts it where there is one. */
function rest(problem) {
  [kind, problemType] = ["rest", problem.type];
  document.title = document.querySelector("h1").textContent = problem.title;
  const forms = document.querySelectorAll(".start");
  document.querySelector(".lead").textContent = forms.length > 0 || !problem.start ? problem.detail : `${problem.detail} Load this page again to start it.`;
  for (const part of document.querySelectorAll(".steps, .watching, .notice > p:not(.brand, .lead, .actions)")) part.hidden = true;
  for (const form of forms) form.hidden = false;
  document.querySelector(".arch").dataset.sign = "paused";
  return false;
}

/** Whether there is something else to see by now. */
async function changed() {
  const ask = { cache: "no-store", redirect: "manual", signal: AbortSignal.timeout(20_000) };
  if (kind === "status") {
    const answer = await fetch(location.href, { ...ask, method: "HEAD" });
    // An app may say 503 as well; only what is ours is asked for more.
    if (answer.status !== 503 || !isProblem(answer)) return !WAITING.includes(answer.status);
  }
  const answer = await fetch(location.href, { ...ask, headers: { accept: "application/problem+json" } });
  if (!isProblem(answer)) {
    await answer.body?.cancel();
    return !WAITING.includes(answer.status);
  }
  const problem = await answer.json();
  if (RESTING.includes(problem.type) && problem.type !== problemType) return rest(problem);
  if (kind === "status") return !WAITING.includes(problem.status);
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
