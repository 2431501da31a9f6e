// Git repositories made for a test, and a small server for them over smart HTTP.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';

const AUTHOR = ['-c', 'user.name=Test', '-c', 'user.email=test@example.org', '-c', 'init.defaultBranch=main', '-c', 'commit.gpgsign=false'];

function git(directory, ...arguments_) {
  return execFileSync('git', [...AUTHOR, ...arguments_], { cwd: directory, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Makes a repository with two commits of some files; returns its directory. */
export function repository(t, files = { 'README.md': '# A repository\n' }) {
  const root = mkdtempSync('/tmp/pr-');
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const directory = path.join(root, 'project');
  mkdirSync(directory);
  git(directory, 'init', '-q');
  git(directory, 'commit', '-q', '--allow-empty', '-m', 'Begin');
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(directory, name)), { recursive: true });
    writeFileSync(path.join(directory, name), text);
  }
  git(directory, 'add', '-A');
  git(directory, 'commit', '-q', '-m', 'Add files');
  git(directory, 'branch', 'topic');
  git(directory, 'tag', 'v1');
  return directory;
}

/** Serves repositories by name over smart HTTP, pushes too, to anybody or to a `NAME:PASSWORD` alone; returns the origin, to which `/NAME` is added. */
export async function serveRepositories(t, repositories, address = '127.0.0.1', login) {
  const server = http.createServer((incoming, outgoing) => {
    const url = new URL(incoming.url, 'http://git');
    const [, name, ...rest] = url.pathname.split('/');
    const directory = repositories[name];
    const [, offered] = (incoming.headers.authorization ?? '').match(/^Basic (.*)$/) ?? [];
    if (login && Buffer.from(offered ?? '', 'base64').toString() !== login) return outgoing.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
    if (!directory) return outgoing.writeHead(404).end('no such repository\n');
    const backend = spawn('git', ['http-backend'], {
      env: {
        ...process.env,
        GIT_PROJECT_ROOT: path.join(directory, '.git'),
        GIT_HTTP_EXPORT_ALL: '1',
        PATH_INFO: `/${rest.join('/')}`,
        QUERY_STRING: url.search.slice(1),
        REQUEST_METHOD: incoming.method,
        CONTENT_TYPE: incoming.headers['content-type'] ?? '',
        HTTP_CONTENT_ENCODING: incoming.headers['content-encoding'] ?? '',
        ...(login ? { REMOTE_USER: login.split(':')[0] } : {}),
        GIT_PROTOCOL: incoming.headers['git-protocol'] ?? '',
      },
    });
    incoming.pipe(backend.stdin);
    backend.stdin.on('error', () => {});
    answer(backend.stdout, outgoing);
  });
  await new Promise((done) => server.listen(0, address, done));
  t.after(() => server.close());
  return `http://${address}:${server.address().port}`;
}

/** Turns a CGI answer into an HTTP one. */
function answer(output, outgoing) {
  let head = Buffer.alloc(0);
  const read = (chunk) => {
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) return;
    output.off('data', read);
    const fields = head.subarray(0, end).toString().split('\r\n').map((line) => line.split(/:\s*/, 2));
    const status = Number(fields.find(([name]) => name === 'Status')?.[1].slice(0, 3) ?? 200);
    outgoing.writeHead(status, Object.fromEntries(fields.filter(([name]) => name !== 'Status')));
    outgoing.write(head.subarray(end + 4));
    output.pipe(outgoing);
  };
  output.on('data', read);
  output.on('end', () => outgoing.headersSent || outgoing.writeHead(500).end());
}
