// Signing in with a name and a password, or as whom a proxy in front names.

import { client } from "./api.js";

const call = client("/api/v1");
const form = document.querySelector("form");
const message = document.querySelector("#message");
const { next, header } = document.body.dataset;

function say(text, tone = "bad") {
  const box = document.createElement("div");
  box.className = `message ${tone}`;
  box.textContent = text;
  message.replaceChildren(...(text ? [box] : []));
}

function words(problem) {
  if (problem.slug === "wrong-password") return "That name and password do not go together. Check both and try again.";
  if (problem.status === 429) return "Too many tries. Wait a minute, then try again.";
  return problem.message;
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { name, password } = form.elements;
  const button = form.querySelector("button");
  button.disabled = true;
  say("");
  try {
    await call("POST", "/sign-in", { name: name.value.trim(), password: password.value });
    location.replace((next || "/") + location.hash);
  } catch (problem) {
    say(words(problem));
    button.disabled = false;
    password.select();
    password.focus();
  }
});

// Left here by a sign-out, once.
const left = sessionStorage.getItem("portico-signed-out");
sessionStorage.removeItem("portico-signed-out");
if (left) {
  const { label, url } = JSON.parse(left);
  const box = document.createElement("div");
  box.className = "message good";
  const link = document.createElement("a");
  link.href = url;
  link.textContent = `Sign out at ${label}, too`;
  link.dataset.testid = "sign-out-there";
  const words = document.createElement("p");
  words.append(`You are signed out here, and still signed in at ${label}. `, link);
  box.append(words);
  message.replaceChildren(box);
}

if (header !== undefined) {
  say("Signing you in…", "wait");
  call("POST", "/sign-in/header").then(
    () => location.replace((next || "/") + location.hash),
    (problem) => say(problem.message),
  );
}
