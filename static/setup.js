// A one-time link: its secret stands in the fragment, which no server log sees, and is posted from here.

import { client } from "./api.js";

const call = client("/api/v1");
const secret = location.hash.slice(1);
const form = document.querySelector("#first-admin");
const arch = document.querySelector(".arch");
const message = document.querySelector("#message");

function show(title, lead, sign) {
  document.querySelector("#title").textContent = title;
  document.querySelector("#lead").textContent = lead;
  arch.dataset.sign = sign;
}

function complain(text) {
  const box = document.createElement("div");
  box.className = "message bad";
  box.textContent = text;
  message.replaceChildren(box);
}

/** Follows the answer's `next`: a path here or one of our own hosts. */
function go(next) {
  const url = new URL(next || "/", location.href);
  location.replace(["http:", "https:"].includes(url.protocol) ? url : "/");
}

function welcome() {
  show("Welcome to Portico", "You are the first here. Choose the administrator's name and password.", "open");
  form.hidden = false;
  form.elements.name.focus();
}

async function post(extra) {
  try {
    go((await call("POST", "/setup", { secret, ...extra })).next);
  } catch (problem) {
    if (problem.status === 422 && !extra && problem.members.kind === "first_admin") return welcome();
    if (problem.status === 400 || problem.status === 404) {
      form.hidden = true;
      message.replaceChildren();
      document.querySelector("#sign-in").hidden = false;
      return show("This link is used up", "Each link works once, and not for long. Sign in with your password, or ask for a fresh link.", "closed");
    }
    complain(problem.message);
    if (!extra) show("The link did not work", "Reload this page to try again.", "trouble");
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  message.replaceChildren();
  await post({ name: form.elements.name.value.trim(), password: form.elements.password.value });
  button.disabled = false;
});

if (secret) post();
else show("This link is incomplete", "Copy the whole link, with everything behind the # sign, and open it again.", "closed");
