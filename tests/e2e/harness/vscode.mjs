// VS Code in the browser, as a person uses it: open a file, change it, save it, type in its terminal.
//
// It is drawn before it listens, and draws again while it gets ready: what is pressed too early is pressed again.
import { eventually } from './eventually.mjs';

/** How long each single try may take, in milliseconds. */
const TRY = { timeout: 20_000 };

/**
 * Waits until the workbench is there with its files. Whenever an interface of the machine comes or goes, a container's for
 * instance, Chromium ends all connections and fails what is under way: a workbench without one of its scripts never comes,
 * and is loaded again, as a person does.
 */
export async function workbench(page) {
  const parts = ['.monaco-workbench .part.editor', '.explorer-folders-view .monaco-list-row'].map((part) => page.locator(part).first());
  const shown = async () => {
    for (const part of parts) await part.waitFor({ timeout: 60_000 });
    return true;
  };
  const again = async (error) => {
    console.warn(`The workbench did not come, and is loaded again: ${page.url()}`);
    await page.reload();
    throw error;
  };
  await eventually('the workbench is there', () => shown().catch(again), { seconds: 300 });
}

/** Opens a file by its name. */
export async function open(page, file) {
  const input = page.locator('.quick-input-widget input').first();
  const found = page.locator('.quick-input-list .monaco-list-row').filter({ hasText: file }).first();
  const tab = page.locator('.tab').filter({ hasText: file }).first();
  await eventually(`${file} is open`, async () => {
    if (await tab.isVisible()) return true;
    if (!(await input.isVisible())) await page.keyboard.press('Control+P');
    await input.fill(file, TRY);
    await found.click(TRY);
    await tab.waitFor(TRY);
    return true;
  }, { seconds: 300 });
}

/** Replaces all of the open file and saves it. */
export async function replace(page, text) {
  const lines = page.locator('.editor-instance .view-lines').first();
  const shown = async () => (await lines.innerText(TRY)).replaceAll('\u00a0', ' ').trim();
  await eventually('the editor shows what was typed', async () => {
    await lines.click(TRY);
    await page.keyboard.press('Control+A');
    await page.keyboard.insertText(text);
    return eventually('it is drawn', async () => (await shown()) === text.trim(), { seconds: 5 });
  });
  await eventually('it is saved', async () => {
    await page.keyboard.press('Control+S');
    await page.locator('.tab.active.dirty').waitFor({ state: 'detached', ...TRY });
    return true;
  });
}

/** Opens VS Code's terminal and returns a function that types into it. */
export async function terminal(page) {
  const rows = page.locator('.terminal-wrapper .xterm-screen').first();
  await eventually('the terminal is open', async () => {
    if (!(await rows.isVisible())) await page.keyboard.press('Control+Backquote');
    await rows.waitFor(TRY);
    return true;
  });
  await page.locator('.terminal-wrapper .xterm-helper-textarea').first().focus();
  return async (line) => {
    await page.keyboard.type(line, { delay: 5 });
    await page.keyboard.press('Enter');
  };
}

