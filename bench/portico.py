"""A real Portico: the release binary with its configuration, and somebody who is signed in."""

import glob
import json
import os
import secrets
import subprocess

from browser import Browser
from codespace import Codespace
from place import PROXY_CORE, end, free_port, listens, pin, start, until

NAME, PASSWORD = "bench", "the bench is no secret 1"
DOMAIN, GATEWAY = "codespaces.localhost", "portico.localhost"


class Portico(Browser):
    """One gateway and its codespaces. `tls` is None or the paths of the CA, the certificate and the key."""

    def __init__(self, binary, directory, agent_core, tls=None, core=PROXY_CORE, editors=None):
        self.binary, self.directory, self.agent_core, self.tls, self.core = binary, directory, agent_core, tls, core
        self.data = f"{directory}/data"
        super().__init__(free_port(), tls["ca"] if tls else None)
        self.process, self.token, self.codespaces, self.domain = None, None, [], DOMAIN
        os.makedirs(self.data, mode=0o700)
        if editors:
            os.symlink(editors, f"{self.data}/editors")
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
        self.process = start(command, self.core, f"{self.directory}/gateway.log", env=environment())
        until("the gateway is ready", self.ready, patience, pause)

    def ready(self):
        try:
            return self.alive() and listens(self.port) and self.ask(GATEWAY, "GET", "/readyz")[0] == 200
        except OSError:
            # It listens, and takes long.
            return False

    def running(self):
        return self.process is not None and self.process.poll() is None

    def alive(self):
        if not self.running():
            with open(f"{self.directory}/gateway.log", errors="replace") as log:
                raise RuntimeError(f"the gateway ended: {log.read().strip()[-300:]}")
        return True

    def restart(self, patience=60):
        end(self.process, patience)
        self.serve(patience)
        self.come_back(patience)

    def come_back(self, patience=60):
        for codespace in self.codespaces:
            if codespace.private:
                until("the codespace is back", lambda: self.ask(codespace.host(codespace.private), "GET", "/", codespace.headers)[0] == 200, patience)

    def first(self):
        return self.codespaces[0]

    def enrol(self):
        """Makes the account and signs in."""
        self.command("user", "create", NAME, "--admin", "--password-stdin", "--data", self.data, input=f"{PASSWORD}\n")
        self.token = self.command("token", "create", "--user", NAME, "--scope", "all", "--data", self.data).strip()
        url = f"{self.scheme}://{GATEWAY}:{self.port}"
        body = json.dumps({"name": NAME, "password": PASSWORD})
        headers = {"Origin": url, "Content-Type": "application/json", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
        status, _, text = self.browse(f"{url}/api/v1/sign-in", "POST", headers, body)
        if status != 204:
            raise RuntimeError(f"signing in answered {status}: {text}")

    def use_engine(self, engine, image):
        """Codespaces are containers of an engine from the next start on."""
        with open(f"{self.directory}/portico.toml") as config:
            before = config.read()
        with open(f"{self.directory}/portico.toml", "w") as config:
            config.write(f'runtime = "docker"\n{before}[docker]\nsocket = "{engine.socket}"\nimage = "{image}"\n')

    def create(self, app=None, repository=None, agent=None):
        """Makes a codespace of a repository of its own, with an app inside if one is given; `agent` finds the agent by name."""
        before = self.agents()
        directory = f"{self.directory}/codespace-{len(self.codespaces)}"
        name = self.command("codespace", "create", repository or made(directory), "--idle-timeout", "240").split()[-1]
        agent = until("the agent runs", lambda: agent(name) if agent else min(self.agents() - before, default=None))
        codespace = Codespace(self, name, agent, directory)
        self.codespaces.append(codespace)
        pin(agent, self.agent_core)
        if app:
            codespace.start_app(app)
            codespace.sign_in()
        return codespace

    def agents(self):
        """Process ids of what runs `portico agent` for this gateway."""
        found = set()
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                with open(path, "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if b"agent" in words and any(self.data.encode() in word for word in words):
                found.add(int(path.split("/")[2]))
        return found

    def command(self, *words, input=""):
        """Runs a command of ours as this account, and returns what it prints."""
        more = {"SSL_CERT_FILE": self.tls["ca"]} if self.tls else {}
        if self.token:
            more |= {"PORTICO_URL": f"{self.scheme}://{GATEWAY}:{self.port}", "PORTICO_TOKEN": self.token}
        done = subprocess.run([self.binary, *words], input=input, capture_output=True, text=True, env=environment(more), timeout=60)
        if done.returncode:
            raise RuntimeError(f"portico {' '.join(words)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def api(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        status, _, text = self.ask(GATEWAY, method, f"/api/v1{path}", headers, json.dumps(body) if body is not None else None)
        if status >= 300:
            raise RuntimeError(f"{method} {path} answered {status}: {text[:300]}")
        return json.loads(text) if text.strip() else None

    def close(self):
        """Deletes the codespaces, then stops the gateway; agents that are left are ended by their id."""
        for codespace in self.codespaces if self.running() else []:
            try:
                self.command("codespace", "delete", codespace.name, "--force")
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                print(error)
        if self.process:
            end(self.process)
        for agent in self.agents():
            os.kill(agent, 9)


def environment(more=None):
    """This process's environment without what would lead `portico` elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PORTICO_", "CODESPACE"))}
    return {**kept, **(more or {})}


def made(directory):
    """A tiny repository to make a codespace of."""
    git = ["git", "-c", "user.name=Bench", "-c", "user.email=bench@example.org", "-c", "init.defaultBranch=main", "-C", directory]
    os.makedirs(directory)
    with open(f"{directory}/README.md", "w") as file:
        file.write(f"# A repository {secrets.token_hex(4)}\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "Begin"]):
        subprocess.run([*git, *words], check=True)
    return directory


def certificate(script, directory):
    """A certificate for the gateway and its codespaces, from a new local authority."""
    subprocess.run([script, directory, GATEWAY, DOMAIN], check=True, stdout=subprocess.DEVNULL)
    return {"ca": f"{directory}/ca.pem", "certificate": f"{directory}/portico.pem", "key": f"{directory}/portico.key"}
