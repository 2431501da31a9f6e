// Says in the editor that the codespace is about to stop by itself, with the one thing to press that puts it off.
//
// The agent writes when that is into a file beside its socket, and takes it away once it no longer holds. Nothing here
// decides, asks the gateway or holds a secret; without that file, as on a machine of one's own, it does nothing.
// The oldest editors that may load it run it with Node 14: no word here is newer than ES2020.

const fs = require('fs');
const http = require('http');
const path = require('path');
const vscode = require('vscode');

/** So long before the time the last words are said: the editor ends with its codespace, and what is shown then stays. */
const LAST_WORDS_MS = 1000;

/** How long a press may take to show. */
const PATIENCE_MS = 10 * 1000;

const MINUTE_MS = 60 * 1000;

/** Works though everything in the codespace has ended. */
const RELOAD = '[Reload to start it](command:workbench.action.reloadWindow)';

/** @param {vscode.ExtensionContext} context */
function activate(context) {
  const socket = process.env.PORTICO_AGENT_SOCKET;
  if (!socket) return;
  const room = path.join(path.dirname(socket), 'editor-notice');
  const notice = new Notice(socket);
  const look = () => notice.take(read(path.join(room, 'stopping.json')));
  let watcher;
  try {
    watcher = fs.watch(room, look);
  } catch {
    return; // An agent that tells nothing.
  }
  watcher.on('error', () => {});
  context.subscriptions.push({ dispose: () => watcher.close() }, { dispose: () => notice.take(undefined) });
  look();
}

/** What the agent says; nothing if there is nothing to say. Anything could stand in its place: a pipe would be waited for. */
function read(file) {
  try {
    if (!fs.lstatSync(file).isFile()) return undefined;
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

/** What is shown of a stop: at most one notification. */
class Notice {
  constructor(socket) {
    this.socket = socket;
  }

  /** Takes what the agent says now, in place of what it said before. */
  take(told) {
    clearTimeout(this.timer);
    const at = told?.stops?.at;
    if (typeof at !== 'number') return this.hide();
    this.anyway = told.stops.anyway === true;
    if (this.from === undefined) this.from = Date.now();
    this.tell(at);
  }

  /** Says how long it still is, and again when that changes. */
  tell(at) {
    const left = at - Date.now();
    if (left <= LAST_WORDS_MS) {
      // Without a button only one line of it is seen.
      return this.show(`Codespace stopped: ${this.anyway ? 'its time was up' : 'nobody used it'}. ${RELOAD}.`, { full: 100 });
    }
    const minutes = Math.ceil(left / MINUTE_MS);
    const soon = minutes > 1 ? `in ${minutes} minutes` : 'within a minute';
    const full = (100 * (Date.now() - this.from)) / (at - this.from);
    const why = this.anyway ? 'it has run for as long as the operator lets one run' : 'nothing was typed or run in it';
    const words = `This codespace stops ${soon}, because ${why}. Your files are kept, what runs in it ends.${dashboard()}`;
    this.show(words, { full, button: this.anyway ? undefined : 'Keep it awake' });
    this.timer = setTimeout(() => this.tell(at), left - Math.max((minutes - 1) * MINUTE_MS, LAST_WORDS_MS));
  }

  /** Shows words, in the notification that is there if it has the same button. */
  show(words, { full, button }) {
    if (!this.shown || this.shown.button !== button) this.open(button);
    this.shown.say(words, full);
  }

  /** A notification of progress: unlike others it stays until it is pressed, and can be taken back. */
  open(button) {
    this.close();
    // The button cancels; where an editor knows no other word for it, it says "Cancel".
    const options = { location: vscode.ProgressLocation.Notification, cancellable: button ?? false };
    const shown = { button };
    const over = new Promise((done) => (shown.done = done));
    let before = 0;
    const opened = new Promise((there) => {
      vscode.window.withProgress(options, (progress, token) => {
        token.onCancellationRequested(() => this.shown === shown && this.keep());
        there(progress);
        return over;
      });
    });
    shown.say = async (words, full) => {
      const progress = await opened;
      progress.report({ message: words, increment: Math.max(0, full - before) });
      before = Math.max(before, full);
    };
    this.shown = shown;
  }

  close() {
    this.shown?.done();
    this.shown = undefined;
  }

  hide() {
    clearTimeout(this.pressed);
    this.pressed = this.from = undefined;
    this.close();
  }

  /** The person pressed: the agent tells the gateway, and the notice goes once that holds. */
  keep() {
    clearTimeout(this.timer);
    this.close();
    const failed = (why) => {
      if (!this.pressed) return;
      clearTimeout(this.pressed);
      this.pressed = undefined;
      vscode.window.showErrorMessage(`This codespace was not kept awake: ${why}. Type something in it, or use its page.${dashboard()}`);
    };
    this.pressed = setTimeout(() => failed('the gateway did not answer'), PATIENCE_MS);
    ask(this.socket).catch((error) => failed(error.message));
  }
}

/** A link to the codespace's page. */
function dashboard() {
  const { PORTICO_URL: gateway, CODESPACE_NAME: name } = process.env;
  return gateway && name ? ` [Dashboard](${gateway.replace(/\/$/, '')}/codespaces/${name})` : '';
}

/** Asks the agent to put the stop off. */
function ask(socketPath) {
  return new Promise((done, failed) => {
    const request = http.request({ socketPath, method: 'POST', path: '/keep', timeout: PATIENCE_MS }, (answer) => {
      let body = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk) => (body += chunk));
      answer.on('end', () => (answer.statusCode === 204 ? done() : failed(new Error(reason(body) ?? `its agent answered ${answer.statusCode}`))));
    });
    request.on('timeout', () => request.destroy(new Error('its agent did not answer')));
    request.on('error', failed);
    request.end();
  });
}

function reason(body) {
  try {
    return JSON.parse(body).detail;
  } catch {
    return undefined;
  }
}

module.exports = { activate };
