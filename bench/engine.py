"""A container engine of the run's own, an image of this machine's programs, and a git server that containers reach."""

import http.server
import os
import shutil
import subprocess
import tempfile
import threading

from place import SEARCH, TOP, end, program, start, until

IMAGE = "portico-test:latest"
# An address of this machine that stands for the rest of the world: containers get there through their gateway.
WORLD = "10.99.0.1"


class Engine:
    """dockerd with data of its own; `close` ends it and removes what it held."""

    def __init__(self, core):
        absent = [name for name in ("dockerd", "docker", "ip", "iptables") if not program(name)]
        if absent or os.geteuid() != 0:
            why = f"not installed: {', '.join(absent)}" if absent else "it takes root"
            raise RuntimeError(f"no container engine is started: {why}")
        self.directory = tempfile.mkdtemp(prefix="pd-", dir="/tmp")
        self.socket = f"{self.directory}/docker.sock"
        self.process, self.server, self.added = None, None, False
        at = {name: f"{self.directory}/{name}" for name in ("data", "exec", "pid", "log")}
        words = ["dockerd", "--data-root", at["data"], "--exec-root", at["exec"], "--pidfile", at["pid"], "-H", self.host(), "--bridge", "none"]
        self.process = start(words, core, at["log"], env=os.environ | {"PATH": SEARCH})
        until("the engine answers", self.answers, 30, 0.1)
        subprocess.run([f"{TOP}/tests/docker/image", IMAGE, self.host()], check=True, capture_output=True)

    def host(self):
        return f"unix://{self.socket}"

    def docker(self, *words):
        return subprocess.run(["docker", "-H", self.host(), *words], check=True, capture_output=True, text=True, timeout=60).stdout.strip()

    def answers(self):
        try:
            return self.docker("version")
        except subprocess.CalledProcessError:
            return False

    def serve(self, directory):
        """Serves a repository by HTTP at an address that containers reach; returns its URL."""
        with open("/proc/net/fib_trie") as table:
            self.added = WORLD not in table.read()
        if self.added:
            subprocess.run(["ip", "address", "add", f"{WORLD}/32", "dev", "lo"], check=True)
        handler = type("Handler", (Handler,), {"directory": directory})
        self.server = http.server.ThreadingHTTPServer((WORLD, 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://{WORLD}:{self.server.server_port}/project"

    def agent_of(self, codespace):
        """The process id of a codespace's agent, as this machine counts."""
        names = self.docker("ps", "--filter", f"label=portico.codespace={codespace}", "--format", "{{.Names}}").split()
        found = [name for name in names if name.endswith(codespace)]
        return int(self.docker("inspect", "-f", "{{.State.Pid}}", found[0])) if found else None

    def close(self):
        if self.server:
            self.server.shutdown()
        for kind, words in (("container", ["rm", "-f", "-v"]), ("network", ["rm"])):
            try:
                left = self.docker(kind, "ls", *(["-a"] if kind == "container" else []), "-q", "--filter", "label=portico.codespace").split()
                if left:
                    self.docker(kind, *words, *left)
            except (subprocess.SubprocessError, OSError) as error:
                print(error)
        end(self.process, 30)
        if self.added:
            subprocess.run(["ip", "address", "del", f"{WORLD}/32", "dev", "lo"], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


class Handler(http.server.BaseHTTPRequestHandler):
    """Git's own program behind a small server: it answers as a web server's CGI would."""

    directory = None

    def answer(self):
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        about = {
            "GIT_PROJECT_ROOT": self.directory,
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path.removeprefix("/project"),
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=os.environ | about)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line]
        status = next((int(value.split()[0]) for name, value in fields if name == "Status"), 200)
        self.send_response(status)
        for name, value in fields:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass
