// Watching for something to become true, with a deadline; the only place where tests wait by the clock.
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';

/** Asks until the answer is truthy. An error with `fatal` ends it at once; others are shown at the deadline. */
export async function eventually(what, ask, { seconds = 120 } = {}) {
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

/** Asks until the answer is what it is to become: what is told of behind an answer's back may come a moment after it. */
export async function becomes(ask, expected, what = 'it becomes so') {
  let last;
  const same = async () => isDeepStrictEqual((last = await ask()), expected);
  await eventually(what, same).catch((error) => {
    assert.deepEqual(last, expected, what);
    throw error;
  });
}
