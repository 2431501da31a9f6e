// What xterm.js does with <style> elements and style attributes, done so that a policy without 'unsafe-inline' allows it.

/** Stands in for document.createElement("style"): its text becomes a constructed style sheet. */
export function styleSheetElement(document) {
  const element = document.createElement("span");
  const sheet = new CSSStyleSheet();
  element.hidden = true;
  document.adoptedStyleSheets.push(sheet);
  Object.defineProperty(element, "textContent", { set: (text) => sheet.replaceSync(text) });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}

/** Stands in for element.setAttribute("style", text). */
export function styleText(element, text) {
  element.style.cssText = text;
}
