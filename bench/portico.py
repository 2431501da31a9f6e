"""A real Portico: the release binary, a codespace with its agent, an app inside it, and somebody who is signed in."""

import glob
import html
import http.client
import json
import os
import re
import secrets
import socket
import ssl
import subprocess
import urllib.parse

from place import LOAD_CORE, PROXY_CORE, end, free_port, listens, pin, program, start, until

NAME, PASSWORD = "bench", "the bench is no secret 1"
DOMAIN, GATEWAY = "codespaces.localhost", "portico.localhost"
UPSTREAM = """
daemon off; master_process off; pid {at}/app.pid; error_log {at}/app.log warn; worker_rlimit_nofile {files};
events {{ worker_connections {connections}; }}
http {{
  access_log off; sendfile on; keepalive_requests 100000000; client_body_temp_path {at}/app.body;
  proxy_temp_path {at}/app.proxy; fastcgi_temp_path {at}/app.f; uwsgi_temp_path {at}/app.u; scgi_temp_path {at}/app.s;
  server {{
    listen 127.0.0.1:{public} backlog=4096; listen 127.0.0.1:{private} backlog=4096;
    location = /large {{ default_type application/octet-stream; alias {at}/large; }}
    location / {{ default_type text/plain; return 200 "hello, world\\n"; }}
  }}
}}
"""


class Portico:
    """One gateway and its codespace. `tls` is None or the paths of the CA, the certificate and the key."""

    def __init__(self, binary, directory, agent_core, tls=None):
        self.binary, self.directory, self.agent_core, self.tls = binary, directory, agent_core, tls
        self.data = f"{directory}/data"
        self.port = free_port()
        self.scheme = "https" if tls else "http"
        self.process = self.agent = None
        os.makedirs(self.data, mode=0o700)
        self.write_config()

    def write_config(self):
        lines = [
            f'listen = "127.0.0.1:{self.port}"',
            f'url = "{self.scheme}://{GATEWAY}:{self.port}"',
            f'domain = "{DOMAIN}"',
            f'data = "{self.data}"',
        ]
        if self.tls:
            lines += ["[tls]", f'certificate = ["{self.tls["certificate"]}"]', f'key = ["{self.tls["key"]}"]']
        # The load comes from one address.
        lines += ["[limits]", "connections = 20000", "connections_per_address = 20000"]
        with open(f"{self.directory}/portico.toml", "w") as config:
            config.write("\n".join(lines) + "\n")

    def serve(self, patience=30, pause=0.02):
        """Starts the gateway, or starts it again; returns when it is ready."""
        command = [self.binary, "serve", "--config", f"{self.directory}/portico.toml"]
        self.process = start(command, PROXY_CORE, f"{self.directory}/gateway.log", env=environment())
        ready = lambda: self.alive() and listens(self.port) and self.ask(GATEWAY, "GET", "/readyz")[0] == 200
        until("the gateway is ready", ready, patience, pause)

    def alive(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the gateway ended; see {self.directory}/gateway.log")
        return True

    def restart(self, patience=30):
        end(self.process)
        self.serve(patience)
        until("the codespace is back", lambda: self.ask(self.host(self.private), "GET", "/", self.headers)[0] == 200, patience)

    def populate(self, repository, app):
        """Makes the account, the codespace and the app inside it, and signs in."""
        self.command("user", "create", NAME, "--admin", "--password-stdin", "--data", self.data, input=f"{PASSWORD}\n")
        self.token = self.command("token", "create", "--user", NAME, "--scope", "all", "--data", self.data).strip()
        self.codespace = self.command("codespace", "create", repository, "--idle-timeout", "240").split()[-1]
        self.agent = until("the agent runs", self.find_agent)
        pin(self.agent, self.agent_core)
        self.start_app(app)
        self.command("ports", "visibility", f"{self.public}:public", "-c", self.codespace)
        self.cookies = {}
        self.sign_in()
        origin = f"{self.scheme}://{self.host(self.private)}:{self.port}"
        self.headers = {"Cookie": self.cookie_of(self.host(self.private)), "Origin": origin}
        self.echo_headers = {"Cookie": self.visit(self.echo), "Origin": f"{self.scheme}://{self.host(self.echo)}:{self.port}"}

    def start_app(self, app):
        """nginx for small and large answers, and the echoing app; they belong to the codespace and use the load's core."""
        self.public, self.private, self.echo = free_port(), free_port(), free_port()
        config = UPSTREAM.format(at=self.directory, public=self.public, private=self.private, files=20000, connections=19000)
        with open(f"{self.directory}/app.conf", "w") as file:
            file.write(config)
        with open(f"{self.directory}/large", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, 256 << 20)
        # In a terminal, which outlives the gateway when that is started again.
        nginx = f"{program('nginx')} -c {self.directory}/app.conf"
        script = f"taskset -c {LOAD_CORE} {app} {self.echo} & exec taskset -c {LOAD_CORE} {nginx} > {self.directory}/app.out 2>&1"
        body = json.dumps({"cols": 80, "rows": 24, "command": ["sh", "-c", script]})
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        status, _, text = self.ask(GATEWAY, "POST", f"/api/v1/codespaces/{self.codespace}/terminals", headers, body)
        if status != 201:
            raise RuntimeError(f"the app's terminal: {status} {text}")
        for port in (self.public, self.private, self.echo):
            until(f"port {port} is listed", lambda port=port: self.lists(port))

    def lists(self, port):
        ports = json.loads(self.command("ports", "-c", self.codespace, "--json"))
        return any(row["port"] == port and row["listening"] for row in ports)

    def find_agent(self):
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                with open(path, "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if b"agent" in words and any(self.data.encode() in word for word in words):
                return int(path.split("/")[2])
        return None

    def host(self, port=None):
        return f"{self.codespace}{f'-{port}' if port else ''}.{DOMAIN}"

    # Clients

    def client_environment(self):
        more = {"PORTICO_URL": f"{self.scheme}://{GATEWAY}:{self.port}", "PORTICO_TOKEN": self.token}
        if self.tls:
            more["SSL_CERT_FILE"] = self.tls["ca"]
        return environment(more)

    def command(self, *words, input=""):
        env = self.client_environment() if hasattr(self, "token") else environment()
        done = subprocess.run([self.binary, *words], input=input, capture_output=True, text=True, env=env, timeout=60)
        if done.returncode:
            raise RuntimeError(f"portico {' '.join(words)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def ask(self, host, method, target, headers=None, body=None):
        """One exchange on a connection of its own: status, headers, text."""
        plain = socket.create_connection(("127.0.0.1", self.port), 10)
        connection = http.client.HTTPConnection(host, self.port, timeout=10)
        connection.sock = ssl.create_default_context(cafile=self.tls["ca"]).wrap_socket(plain, server_hostname=host) if self.tls else plain
        try:
            connection.request(method, target, body=body, headers={"Host": f"{host}:{self.port}", "Connection": "close", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode(errors="replace")
        finally:
            connection.close()

    # Signing in as a browser does: redirects followed, forms posted, cookies kept by host

    def browse(self, url, method="GET", headers=None, body=None):
        parts = urllib.parse.urlsplit(url)
        headers = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", **(headers or {})}
        if self.cookies.get(parts.hostname):
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies[parts.hostname].items())
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        status, answered, text = self.ask(parts.hostname, method, target or "/", headers, body)
        for line in answered.get_all("Set-Cookie") or []:
            name, value = line.split(";")[0].split("=", 1)
            self.cookies.setdefault(parts.hostname, {})[name] = value
            if not value:
                del self.cookies[parts.hostname][name]
        return status, answered, text

    def cookie_of(self, host):
        return "; ".join(f"{name}={value}" for name, value in self.cookies.get(host, {}).items() if "nonce" not in name)

    def sign_in(self):
        url = f"{self.scheme}://{GATEWAY}:{self.port}"
        body = json.dumps({"name": NAME, "password": PASSWORD})
        headers = {"Origin": url, "Content-Type": "application/json", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
        status, _, text = self.browse(f"{url}/api/v1/sign-in", "POST", headers, body)
        if status != 204:
            raise RuntimeError(f"signing in answered {status}: {text}")
        self.visit(self.private)

    def visit(self, port):
        """Goes the whole hop from a port's page and back; returns the cookie of its host."""
        url, method, body, headers = f"{self.scheme}://{self.host(port)}:{self.port}/", "GET", None, {}
        for _ in range(20):
            status, answered, text = self.browse(url, method, headers, body)
            form = re.search(r'<form method="post" action="([^"]*)">\s*<input type="hidden" name="ticket" value="([^"]*)"', text)
            here, method, body, headers = url, "GET", None, {}
            if status in (302, 303) and answered.get("Location"):
                url = urllib.parse.urljoin(here, answered["Location"])
            elif status == 200 and form:
                url = urllib.parse.urljoin(here, html.unescape(form[1]))
                method, body = "POST", urllib.parse.urlencode({"ticket": html.unescape(form[2])})
                origin = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(here))
                headers = {"Origin": origin, "Content-Type": "application/x-www-form-urlencoded"}
            elif status == 200:
                return self.cookie_of(self.host(port))
            else:
                raise RuntimeError(f"the sign-in hop stopped at {here}: {status}\n{text[:500]}")
        raise RuntimeError("the sign-in hop goes round in circles")

    def close(self):
        """Stops the codespace, then the gateway; what still carries its directory is ended by its id."""
        if self.agent and self.process and self.process.poll() is None:
            try:
                self.command("codespace", "delete", self.codespace, "--force")
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                print(error)
        if self.process:
            end(self.process)
        left = self.find_agent()
        if left:
            os.kill(left, 9)


def environment(more=None):
    """This process's environment without what would lead `portico` elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PORTICO_", "CODESPACE"))}
    return {**kept, **(more or {})}


def repository(directory):
    """A tiny repository to make a codespace of."""
    git = ["git", "-c", "user.name=Bench", "-c", "user.email=bench@example.org", "-c", "init.defaultBranch=main", "-C", directory]
    os.makedirs(directory)
    with open(f"{directory}/README.md", "w") as file:
        file.write(f"# A repository {secrets.token_hex(4)}\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "Begin"]):
        subprocess.run([*git, *words], check=True)
    return directory


def speaks_tls(binary, directory):
    """Whether this binary knows the keys of TLS."""
    config = f"{directory}/tls.toml"
    with open(config, "w") as file:
        file.write('[tls]\ncertificate = ["none.pem"]\nkey = ["none.pem"]\n')
    done = subprocess.run([binary, "check", "--config", config], capture_output=True, text=True, env=environment())
    return not re.search(r"(unknown|no such) (key|section)|not known", done.stdout + done.stderr)


def certificate(script, directory):
    """A certificate authority and a certificate of its own for both names."""
    subprocess.run([script, directory, GATEWAY, DOMAIN], check=True, capture_output=True)
    return {"ca": f"{directory}/ca.pem", "certificate": f"{directory}/portico.pem", "key": f"{directory}/portico.key"}
