// VS Code in the browser, as a person uses it: open a file, change it, save it, type in its terminal.

/** Waits until the workbench is there with its files. */
export async function workbench(page) {
  await page.locator('.monaco-workbench .part.editor').waitFor({ timeout: 60_000 });
  await page.locator('.explorer-folders-view .monaco-list-row').first().waitFor({ timeout: 60_000 });
}

/** Opens a file by its name. */
export async function open(page, file) {
  await page.keyboard.press('Control+P');
  const input = page.locator('.quick-input-widget input').first();
  await input.waitFor();
  await input.fill(file);
  await page.locator('.quick-input-list .monaco-list-row').filter({ hasText: file }).first().click();
  await page.locator('.tab').filter({ hasText: file }).first().waitFor();
}

/** Replaces all of the open file and saves it. */
export async function replace(page, text) {
  await page.locator('.editor-instance .view-lines').first().click();
  await page.keyboard.press('Control+A');
  await page.keyboard.press('Delete');
  await page.keyboard.insertText(text);
  await page.keyboard.press('Control+S');
}

/** Opens VS Code's terminal and returns a function that types into it. */
export async function terminal(page) {
  await page.keyboard.press('Control+Backquote');
  const rows = page.locator('.terminal-wrapper .xterm-screen').first();
  await rows.waitFor();
  await page.locator('.terminal-wrapper .xterm-helper-textarea').first().focus();
  return async (line) => {
    await page.keyboard.type(line, { delay: 5 });
    await page.keyboard.press('Enter');
  };
}

