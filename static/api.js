// Calls of the JSON API. Owns how a failure becomes words; knows no page.

/** An answer that is none: what the gateway says went wrong, or that it could not be reached. */
export class Problem extends Error {
  constructor(status, members) {
    super(members.detail || members.title || "The gateway gave no reason.");
    this.status = status;
    this.members = members;
    this.slug = String(members.type ?? "").replace("urn:portico:", "");
  }
}

/** A function that calls the API under `base`; `signedOut` runs when it says that nobody is signed in. */
export function client(base, signedOut = () => undefined) {
  return async function call(method, path, body) {
    const init = { method, cache: "no-store", headers: { accept: "application/json" } };
    if (method !== "GET") {
      init.headers["content-type"] = "application/json";
      init.body = JSON.stringify(body ?? {});
    }
    let answer;
    try {
      answer = await fetch(base + path, init);
    } catch {
      throw new Problem(0, { title: "The gateway cannot be reached. Check your connection and try again." });
    }
    const text = await answer.text();
    if (!answer.ok) {
      if (answer.status === 401) signedOut(path);
      throw new Problem(answer.status, parsed(text) ?? { title: `The gateway answered ${answer.status}.` });
    }
    return (answer.headers.get("content-type") ?? "").includes("json") ? parsed(text) : text;
  };
}

function parsed(text) {
  try {
    const value = JSON.parse(text);
    return value && typeof value === "object" ? value : undefined;
  } catch {
    return undefined;
  }
}
