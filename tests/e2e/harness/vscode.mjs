// VS Code in the browser, as a person uses it: open a file, change it, save it, type in its terminal.

/** Waits until the workbench is there and past its questions. */
export async function workbench(page) {
  await page.locator('.monaco-workbench .part.editor').waitFor({ timeout: 60_000 });
  const trust = page.getByRole('button', { name: /Yes, I trust/ });
  const explorer = page.locator('.explorer-folders-view, .explorer-viewlet').first();
  await Promise.race([trust.waitFor({ timeout: 60_000 }), explorer.waitFor({ timeout: 60_000 })]);
  // The question may come after the explorer.
  await page.addLocatorHandler(trust, () => trust.click());
}

/** Opens a file by its name. */
export async function open(page, file) {
  await page.locator('.monaco-workbench').click({ position: { x: 640, y: 10 } });
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

