// Watching for something to become true, with a deadline; the only place where tests wait by the clock.

/** Asks until the answer is truthy. An error with `fatal` ends it at once; others are shown at the deadline. */
export async function eventually(what, ask, { seconds = 60 } = {}) {
  const deadline = Date.now() + seconds * 1000;
  let last;
  for (;;) {
    try {
      const answer = await ask();
      if (answer) return answer;
      last = answer;
    } catch (error) {
      if (error.fatal) throw error;
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what} (last: ${last?.stack ?? last})`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
