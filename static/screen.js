// A terminal on the page: xterm.js on one side, an attachment on the other.

import { Attach } from "./attach.js";
import { Icon, toast } from "./parts.js";
import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { FitAddon, Terminal, Unicode11Addon, WebglAddon, WebLinksAddon } from "./vendor/xterm.js";

const DARK = { background: "#101315", foreground: "#eae7e1", cursor: "#f2b45c", cursorAccent: "#101315", selectionBackground: "#35565a", black: "#2a2f34", red: "#f08b80", green: "#82d3a2", yellow: "#f0c274", blue: "#86b6f0", magenta: "#d3a1e6", cyan: "#7cc9cd", white: "#d8d5cf", brightBlack: "#8a9299", brightRed: "#f9b3ab", brightGreen: "#a8e6c0", brightYellow: "#f8d9a0", brightBlue: "#b0d0f7", brightMagenta: "#e5c4f2", brightCyan: "#a8e0e3", brightWhite: "#ffffff" };
const LIGHT = { background: "#fffdf9", foreground: "#23262a", cursor: "#135e66", cursorAccent: "#fffdf9", selectionBackground: "#bfdcdd", black: "#23262a", red: "#a12b20", green: "#1d6b41", yellow: "#7d4f05", blue: "#1f57a4", magenta: "#7f3596", cyan: "#135e66", white: "#6b6f72", brightBlack: "#5b5e60", brightRed: "#b83a2e", brightGreen: "#267d4e", brightYellow: "#8f5f10", brightBlue: "#2c68bb", brightMagenta: "#9147a8", brightCyan: "#1b727b", brightWhite: "#44484c" };

const dark = matchMedia("(prefers-color-scheme: dark)");
const LOCAL = /^(localhost|127(\.\d+){3}|0\.0\.0\.0|\[::1?\])$|\.localhost$/;

/** Where a URL that a program printed leads from this browser: to the forwarded port, if it names a local server. */
export function forwarded(printed, codespace) {
  const url = new URL(printed.includes("://") ? printed : `http://${printed}`);
  const editor = new URL(codespace.editor_url);
  if (!LOCAL.test(url.hostname) || url.hostname.endsWith(`.${editor.hostname.split(".").slice(1).join(".")}`) || url.host === location.host) return printed;
  const port = Number(url.port || (url.protocol === "https:" ? 443 : 80));
  const known = (codespace.ports ?? []).find((other) => other.port === port)?.url;
  const origin = known ?? editor.origin.replace(`//${codespace.name}.`, `//${codespace.name}-${port}.`);
  return new URL(origin).origin + url.pathname + url.search + url.hash;
}

/** An address of a local server without a scheme, which the links of xterm.js leave alone. */
const BARE = /(?<![\w.:/@-])(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\]):\d{2,5}(?:\/[^\s"'<>`]*[^\s"'<>`.,;:!?)\]}])?(?![\w:])/g;

/** Makes links of bare addresses in the lines of a terminal. */
const bareLinks = (terminal, activate, hover, leave) => ({
  provideLinks(y, done) {
    const text = terminal.buffer.active.getLine(y - 1)?.translateToString(true) ?? "";
    done([...text.matchAll(BARE)].map(({ 0: found, index }) => ({
      text: found,
      range: { start: { x: index + 1, y }, end: { x: index + found.length, y } },
      activate,
      hover,
      leave,
    })));
  },
});

/** Draws with WebGL where that works, and with the DOM where it does not or stops to. */
function accelerate(terminal) {
  try {
    const webgl = new WebglAddon();
    webgl.onContextLoss(() => webgl.dispose());
    terminal.loadAddon(webgl);
  } catch {
    // The DOM renderer stays.
  }
}

function open(element, codespace) {
  const terminal = new Terminal({
    allowProposedApi: true,
    cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
    fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
    fontSize: 14,
    lineHeight: 1.15,
    minimumContrastRatio: 4.5,
    scrollback: 5000,
    theme: dark.matches ? DARK : LIGHT,
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.loadAddon(new Unicode11Addon());
  terminal.unicode.activeVersion = "11";
  const follow = (_, uri) => window.open(forwarded(uri, codespace()), "_blank", "noopener");
  const hover = (_, uri) => (element.title = `Open ${forwarded(uri, codespace())}`);
  const leave = () => element.removeAttribute("title");
  terminal.loadAddon(new WebLinksAddon(follow, { hover, leave }));
  terminal.registerLinkProvider(bareLinks(terminal, follow, hover, leave));
  // Links that a program made (OSC 8) may show any text: the title says where they lead.
  terminal.options.linkHandler = { activate: follow, hover, leave };
  terminal.open(element);
  accelerate(terminal);
  return { terminal, fit };
}

/** Keys that are the page's: copying, and the way out for people who use only the keyboard. */
function keys(terminal) {
  terminal.attachCustomKeyEventHandler((event) => {
    if (event.type !== "keydown") return true;
    if (event.ctrlKey && event.shiftKey && event.code === "KeyC" && terminal.hasSelection()) {
      event.preventDefault();
      navigator.clipboard.writeText(terminal.getSelection()).catch(() => undefined);
      return false;
    }
    if (event.shiftKey && event.key === "F6") {
      event.preventDefault();
      document.querySelector("[role=tab][aria-selected=true]")?.focus();
      return false;
    }
    return true;
  });
}

function wire(element, codespace, url, changed, gone) {
  const { terminal, fit } = open(element, codespace);
  keys(terminal);
  const screen = {
    write: (bytes, done) => terminal.write(bytes, done),
    // Through the queue of writes, so that neither overtakes output that still waits to be drawn.
    reset: () => terminal.write("\x1bc"),
    resize: (cols, rows) => terminal.write("", () => cols > 1 && rows > 0 && terminal.resize(cols, rows)),
  };
  const attach = new Attach(url, screen, changed, gone);
  const encoder = new TextEncoder();
  const send = (bytes) => attach.over || attach.input(bytes) || toast("That is too much input at once for this terminal. It was not sent.", { tone: "bad" });
  terminal.onData((text) => send(encoder.encode(text)));
  terminal.onBinary((text) => send(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
  const refit = () => {
    const size = element.offsetParent && fit.proposeDimensions();
    if (!size?.cols || !size.rows) return;
    if (size.cols !== terminal.cols || size.rows !== terminal.rows) terminal.resize(size.cols, size.rows);
    if (attach.size?.cols !== size.cols || attach.size?.rows !== size.rows) attach.resize(size.cols, size.rows);
  };
  const repaint = () => (terminal.options.theme = dark.matches ? DARK : LIGHT);
  const observer = new ResizeObserver(refit);
  observer.observe(element);
  dark.addEventListener("change", repaint);
  refit();
  attach.connect();
  const stop = () => {
    observer.disconnect();
    dark.removeEventListener("change", repaint);
    attach.close();
    terminal.dispose();
  };
  return { terminal, attach, refit, stop };
}

/** What the strip above a terminal says; nothing while all is well. */
function Strip({ link, hurry }) {
  if (link.state === "open") return null;
  if (link.state === "ended") return html`<div class="strip" role="status"><${Icon} name="stop" />The process ended${Number.isInteger(link.detail) ? ` with status ${link.detail}` : ""}.</div>`;
  if (link.state === "removed") return html`<div class="strip" role="status"><${Icon} name="stop" />This terminal was closed. What it showed last stays here until you leave.</div>`;
  if (link.state === "connecting" || (link.detail?.tries ?? 0) < 2) return html`<div class="strip late" role="status"><${Icon} name="wait" spin />Connecting…</div>`;
  return html`<div class="strip" role="status"><${Icon} name="wait" spin />Reconnecting. What you type is kept. <button type="button" class="button plain compact" onClick=${hurry}>Try now</button></div>`;
}

export function Screen({ codespace, terminal, url, shown, gone }) {
  const ref = useRef();
  const parts = useRef();
  const latest = useRef(codespace);
  latest.current = codespace;
  const [link, setLink] = useState({ state: "connecting" });
  useEffect(() => {
    parts.current = wire(ref.current, () => latest.current, url, (state, detail) => setLink({ state, detail }), gone);
    ref.current.terminal = parts.current.terminal;
    return () => parts.current.stop();
  }, [url]);
  useEffect(() => {
    if (!shown) return;
    parts.current.refit();
    if (document.activeElement?.getAttribute("role") !== "tab") parts.current.terminal.focus();
  }, [shown]);
  return html`<div class="screen" data-state=${link.state}>
    <div class="xterm-box" ref=${ref} data-testid="terminal" data-terminal=${terminal.id} data-state=${link.state}></div>
    <${Strip} link=${link} hurry=${() => parts.current.attach.hurry()} />
  </div>`;
}
