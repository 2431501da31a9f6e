// Adds up what tests/run hygiene searched, prints it, keeps it, and fails if a secret was found, or if a part of it proves
// nothing: a file that reported nothing or was killed, a log that nobody searched, an agent whose log nobody had, a kind of secret
// that nobody planted.
//   node hygiene.mjs REPORTS FILE…           REPORTS is the directory of what test files reported; FILE is what was run
//   node hygiene.mjs REPORTS --keep RESULT FILE…    all files were run, and this is to be kept
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { KINDS } from './harness/hygiene.mjs';

/** A page's end of a terminal, in memory alone. */
const START_NOTHING = ['attach.test.mjs'];

const [directory, ...rest] = process.argv.slice(2);
const result = rest[0] === '--keep' ? rest.splice(0, 2)[1] : undefined;
const files = rest.map((file) => path.basename(file)).filter((file) => !START_NOTHING.includes(file));
const reports = readdirSync(directory).filter((name) => name.endsWith('.json')).map((name) => JSON.parse(readFileSync(path.join(directory, name), 'utf8')));

const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);
const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

/** What reports add up to. */
function total(of) {
  const logs = of.flatMap((report) => report.logs);
  const count = (kind) => logs.filter((log) => log.kind === kind).length;
  const canaries = sum(of.flatMap((report) => Object.values(report.canaries)));
  return `${count('gateway')} logs of gateways, ${count('agent')} of agents, ${size(sum(logs.map(({ bytes = 0 }) => bytes)))} searched for ${canaries} canaries, ${sum(of.map(({ hits }) => hits.length))} hits`;
}

/** The agents that a gateway spoke of and whose log is not there. One in a container or on a machine has a log of another name. */
function unheard({ spoken, logs }) {
  const agents = logs.filter(({ kind }) => kind === 'agent').map(({ name }) => name);
  if (agents.some((name) => !name.startsWith('/'))) return [];
  return spoken.filter((name) => !agents.some((log) => log.includes(`/${name}/`)));
}

const wrong = reports.flatMap(({ file, hits, logs, killed, ...report }) => [
  ...(killed ? [`${file}: it was killed before its logs were searched`] : []),
  ...unheard({ logs, ...report }).map((name) => `${file}: the log of the agent of ${name} was not searched`),
  ...hits.map((hit) => `${file}: ${hit}`),
  ...logs.filter(({ searched, bytes }) => !searched || !bytes).map(({ kind, name, searched }) => `${file}: the log of ${kind} ${name} ${searched ? 'is empty' : 'was not searched'}`),
]);
const lines = [...files].sort().map((file) => {
  const own = reports.filter((report) => report.file === file);
  if (own.length === 0 || own.every(({ logs }) => logs.every(({ kind }) => kind !== 'gateway'))) wrong.push(`${file}: no log of a gateway was searched`);
  if (own.some(({ canaries }) => Object.keys(canaries).length === 0)) wrong.push(`${file}: no canary was planted`);
  return `${file}: ${total(own)}${own.length > 1 ? ` (in ${own.length} runs)` : ''}`;
});
const kinds = KINDS.map((kind) => {
  const holding = reports.filter(({ canaries }) => canaries[kind]);
  if (result && holding.length === 0) wrong.push(`no ${kind} was planted anywhere`);
  return `  ${kind}: ${sum(holding.map(({ canaries }) => canaries[kind]))} in ${new Set(holding.map(({ file }) => file)).size} files`;
});

const text = [
  `all ${files.length} files: ${total(reports)}`, '', 'canaries by kind:', ...kinds, '', ...lines,
  ...(START_NOTHING.length > 0 ? [`starts no gateway: ${START_NOTHING.join(', ')}`] : []),
  ...(wrong.length > 0 ? ['', 'wrong:', ...wrong] : []), '',
].join('\n');
console.log(text);
if (result) writeFileSync(result, `${process.env.PORTICO_TEST_HEAD ?? ''}\n${text}`);
if (wrong.length > 0) process.exitCode = 1;
