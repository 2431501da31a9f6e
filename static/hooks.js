// Small hooks that pages share.

import { useEffect, useState } from "./vendor/preact.js";

/** Draws the component again after each change of `live`. */
export function useLive(live) {
  const [, draw] = useState(0);
  useEffect(() => live.subscribe(() => draw((count) => count + 1)), [live]);
}

/** Sets the title of the document. */
export function useTitle(title) {
  useEffect(() => {
    document.title = `${title} · Portico`;
  }, [title]);
}

/** Runs `look` now, every `ms` while the page is seen, and when it comes to be seen. */
export function usePolling(look, ms, inputs) {
  useEffect(() => {
    const seen = () => document.hidden || look();
    look();
    const timer = setInterval(seen, ms);
    document.addEventListener("visibilitychange", seen);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, inputs);
}
