// Small apps of real frameworks, as people run them in development: none knows anything of the gateway.
import path from 'node:path';

/** Where tests/run installs them. */
export const FRAMEWORKS = process.env.PORTICO_FRAMEWORKS;
if (!FRAMEWORKS) throw new Error('PORTICO_FRAMEWORKS is not set: run the tests through tests/run, which installs the frameworks');

export const PYTHON = { PYTHONPATH: path.join(FRAMEWORKS, 'python'), PYTHONDONTWRITEBYTECODE: '1' };
const packages = path.join(FRAMEWORKS, 'node_modules');
const vite = path.resolve(import.meta.dirname, '../node_modules/vite/bin/vite.js');
const env = (variables, command) => ['env', ...Object.entries(variables).map(([name, value]) => `${name}=${value}`), ...command];

/** A page whose words come from `word.js`, which is put in place again without a reload. */
const HOT = `import { word } from './word.js';
const show = (word) => (document.querySelector('#word').textContent = word);
show(word);
`;

/** Each with its files, the one to edit, and the command that runs it on a port. */
export const APPS = {
  vite: {
    files: {
      'index.html': '<!doctype html><title>Vite</title><h1 id="word"></h1><script type="module" src="/main.js"></script>\n',
      'main.js': `${HOT}import.meta.hot.accept('./word.js', (fresh) => show(fresh.word));\n`,
    },
    edit: ['word.js', (word) => `export const word = '${word}';\n`],
    command: (port) => [process.execPath, vite, '--port', `${port}`, '--strictPort'],
    refusal: 'vite-host',
  },
  webpack: {
    files: {
      'main.js': `document.body.innerHTML = '<h1 id="word"></h1>';\n${HOT}module.hot.accept('./word.js', () => show(word));\n`,
      'public/index.html': '<!doctype html><title>webpack</title><body><script src="/main.js"></script>\n',
      'package.json': '{"private": true}\n',
      'serve.js': `const webpack = require('webpack');
const Server = require('webpack-dev-server');
const config = { mode: 'development', entry: './main.js', output: { filename: 'main.js' }, devServer: { hot: true, port: Number(process.argv[2]), static: 'public' } };
new Server(config.devServer, webpack(config)).start();
`,
    },
    edit: ['word.js', (word) => `export const word = '${word}';\n`],
    command: (port) => [process.execPath, 'serve.js', `${port}`],
    refusal: 'webpack-host',
  },
  next: {
    files: {
      'package.json': '{"private": true}\n',
      'next.config.mjs': 'export default { typescript: { ignoreBuildErrors: true } };\n',
      'app/layout.js': 'export default function Layout({ children }) {\n  return <html><body>{children}</body></html>;\n}\n',
    },
    edit: ['app/page.js', (word) => `'use client';\nexport default function Page() {\n  return <h1 id="word">${word}</h1>;\n}\n`],
    command: (port) => env({ NEXT_TELEMETRY_DISABLED: '1' }, [process.execPath, path.join(packages, 'next/dist/bin/next'), 'dev', '--webpack', '-H', '127.0.0.1', '-p', `${port}`]),
    // It lets pages of any host in, and its own files out to none but its list.
    refusal: 'next-origin',
    refusedPath: '/_next/static/chunks/main-app.js',
  },
  django: {
    files: {
      'manage.py': `import os, sys
os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'settings')
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
`,
      'settings.py': `DEBUG = True
SECRET_KEY = 'not-a-secret'
ROOT_URLCONF = 'urls'
MIDDLEWARE = ['django.middleware.common.CommonMiddleware', 'django.middleware.csrf.CsrfViewMiddleware']
TEMPLATES = [{'BACKEND': 'django.template.backends.django.DjangoTemplates'}]
`,
      'urls.py': `from django.http import HttpResponse, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.urls import path
from words import word

def page(request):
    form = f'<form method="post" action="/sent"><input type="hidden" name="csrfmiddlewaretoken" value="{get_token(request)}"><input name="said" id="said"><button id="send">Send</button></form>'
    return HttpResponse(f'<!doctype html><h1 id="word">{word}</h1>{form}')

def sent(request):
    return HttpResponseRedirect(request.build_absolute_uri('/thanks?' + request.POST['said']))

urlpatterns = [path('', page), path('sent', sent), path('thanks', lambda request: HttpResponse('<!doctype html><h1 id="word">thanks for ' + request.META['QUERY_STRING'] + '</h1>'))]
`,
    },
    edit: ['words.py', (word) => `word = '${word}'\n`],
    reloads: true,
    command: (port) => env({ ...PYTHON, PYTHONUNBUFFERED: '1' }, ['python3', 'manage.py', 'runserver', `127.0.0.1:${port}`]),
    refusal: 'django-host',
  },
  flask: {
    files: {
      'app.py': `from flask import Flask, redirect, request, url_for
from words import word
app = Flask(__name__)

@app.get('/')
def page():
    return f'<!doctype html><h1 id="word">{word}</h1><form method="post" action="/sent"><input name="said" id="said"><button id="send">Send</button></form>'

@app.post('/sent')
def sent():
    return redirect(url_for('thanks', _external=True) + '?' + request.form['said'])

@app.get('/thanks')
def thanks():
    return '<!doctype html><h1 id="word">thanks for ' + request.query_string.decode() + '</h1>'
`,
    },
    edit: ['words.py', (word) => `word = '${word}'\n`],
    reloads: true,
    command: (port) => env({ ...PYTHON, PYTHONUNBUFFERED: '1' }, ['python3', '-m', 'flask', '--app', 'app', 'run', '--debug', '--host', '127.0.0.1', '--port', `${port}`]),
  },
};

/** The files of an app as its repository has them. */
export function filesOf(app, word) {
  const [name, text] = app.edit;
  return { ...app.files, [name]: text(word) };
}

/** Gives a codespace the packages that npm would put there, and runs the app in it. */
export async function run(gateway, token, codespace, app, port) {
  await gateway.exec(token, codespace, ['ln', '-sfn', packages, 'node_modules']);
  await gateway.serveInside(token, codespace, app.command(port), port);
}

/** Writes a file inside a codespace, at once and whole, as editors do. */
export async function edit(gateway, token, codespace, app, word) {
  const [name, text] = app.edit;
  await gateway.exec(token, codespace, ['sh', '-c', `printf %s "$1" >"$2.new" && mv "$2.new" "$2"`, 'sh', text(word), name]);
}
