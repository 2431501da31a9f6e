// Processes of this machine, read from /proc: whose they are, what they weigh, and ending those of one gateway.
import { readFileSync, readdirSync } from 'node:fs';
import { eventually } from './eventually.mjs';

/** All processes that match. */
export function find(matches) {
  return all().filter(matches).map((found) => found.pid);
}

function all() {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number);
  return pids.flatMap((pid) => {
    try {
      const commandLine = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      const zombie = /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
      return zombie ? [] : [{ pid, commandLine, command: commandLine.split('\0') }];
    } catch {
      return [];
    }
  });
}

/** Resident memory in MiB, now and at its highest. */
export function memory(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const mib = (field) => Number(status.match(new RegExp(`^${field}:\\s+(\\d+)`, 'm'))[1]) / 1024;
  return { now: mib('VmRSS'), peak: mib('VmHWM') };
}

/** Ends every process that belongs to a gateway's data directory: agents, editors, servers inside. */
export async function endAllOf(data) {
  await eventually(
    `the processes of ${data} have ended`,
    () => {
      const left = belongingTo(data);
      for (const pid of left) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It ended meanwhile.
        }
      }
      return left.length === 0;
    },
    { seconds: 60 },
  );
}

function belongingTo(data) {
  return find(({ pid, commandLine }) => {
    if (pid === process.pid || pid === 1) return false;
    if (commandLine.includes(data)) return true;
    try {
      return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(data);
    } catch {
      return false;
    }
  });
}
