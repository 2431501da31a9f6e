"""One measurement each: load through one proxy, and what it cost that proxy."""

import contextlib
import json
import re
import subprocess
import time
from dataclasses import dataclass, field

from place import LOAD_CORE, cpu_seconds, program, resident_kib

NO_PROXY = "no proxy"
PUBLIC, PRIVATE = "portico, public", "portico, private"
LARGE, UPLOADED = 1 << 30, 512 << 20


@dataclass
class Target:
    """A way to the app: a proxy's port, or the app's own."""

    name: str
    port: int
    host: str
    headers: dict = field(default_factory=dict)
    ca: str = None
    proxy: int = None
    """The proxy's process id; none where there is no proxy."""
    agent: int = None

    def url(self, path="/"):
        return f"{'https' if self.ca else 'http'}://{self.host}:{self.port}{path}"


class Trouble(RuntimeError):
    """A measurement that says nothing, and why."""


class Cost:
    """CPU time of a target's processes between two moments."""

    def __init__(self, target):
        self.target, self.begun = target, time.monotonic()
        self.before = self.read()

    def read(self):
        return [cpu_seconds(pid) if pid else 0.0 for pid in (self.target.proxy, self.target.agent)]

    def spent(self):
        """Seconds of the proxy, of the agent, and of the clock."""
        return [*(after - before for after, before in zip(self.read(), self.before)), time.monotonic() - self.begun]


class Load:
    """The programs that make load, on the load's core."""

    def __init__(self, load, seconds, connections):
        self.load, self.seconds, self.connections = load, seconds, connections

    def run(self, command, patience=60):
        done = subprocess.run(["taskset", "-c", str(LOAD_CORE), *map(str, command)], capture_output=True, text=True, timeout=patience)
        if done.returncode:
            raise Trouble(((done.stderr + done.stdout).strip().splitlines() or ["no word"])[-1][:300])
        return done.stdout

    def own(self, mode, target, *more):
        """The command line of our own load."""
        command = [self.load, mode, "--to", f"127.0.0.1:{target.port}", "--host", target.host]
        for name, value in target.headers.items():
            command += ["--header", f"{name}: {value}"]
        return [*command, *(["--ca", target.ca] if target.ca else []), *map(str, more)]

    # Small requests

    def small(self, target, protocol):
        self.requests(target, protocol, 1)
        cost = Cost(target)
        done = self.requests(target, protocol, self.seconds)
        proxy, agent, taken = cost.spent()
        return {"requests": done, "rate": done / taken, "micros": proxy / done * 1e6, "agent": agent / done * 1e6, "busy": proxy / taken}

    def requests(self, target, protocol, seconds):
        """Sends small requests for a while and returns how many were answered with 200."""
        headers = [word for name, value in target.headers.items() for word in ("-H", f"{name}: {value}")]
        if protocol == "HTTP":
            command = [program("wrk"), "-t1", f"-c{self.connections}", f"-d{max(1, round(seconds))}s", "-H", f"Host: {target.host}:{target.port}"]
            text = self.run([*command, *headers, f"http://127.0.0.1:{target.port}/"])
            bad = sum(int(found) for found in re.findall(r"Non-2xx or 3xx responses: (\d+)|timeout (\d+)", text) for found in found if found)
            done = int(re.search(r"(\d+) requests in", text)[1])
        else:
            # HTTP/2 as browsers use it: few connections, several requests in each.
            shape = ["--h1", "-c", self.connections] if protocol == "HTTPS" else ["-c", 8, "-m", 8]
            command = [program("h2load"), *shape, "-D", max(1, round(seconds)), "--connect-to", f"127.0.0.1:{target.port}"]
            text = self.run([*command, *headers, target.url()])
            done, good = (int(re.search(rf"(\d+) {word}", text)[1]) for word in ("done", "2xx"))
            bad = done - good
        if not done or bad > done / 1000:
            raise Trouble(f"{bad} of {done} requests failed")
        return done

    # Bytes

    def download(self, target):
        return self.moved(target, self.own("get", target, "--path", "/large", "--bytes", LARGE, "--seconds", self.seconds))

    def upload(self, target):
        return self.moved(target, self.own("put", target, "--path", "/", "--bytes", UPLOADED))

    def down(self, target):
        """From the app, on a connection that was upgraded."""
        return self.moved(target, self.own("down", target, "--path", f"/push/{LARGE}", "--bytes", LARGE, "--seconds", self.seconds))

    def up(self, target):
        """To the app, on a connection that was upgraded."""
        return self.moved(target, self.own("up", target, "--path", f"/take/{LARGE}", "--bytes", LARGE))

    def moved(self, target, command):
        cost = Cost(target)
        done = json.loads(self.run(command))
        proxy, agent, _ = cost.spent()
        gigabytes = done["bytes"] / 1e9
        if not gigabytes:
            raise Trouble("no byte came")
        return {"per_gb": proxy / gigabytes, "agent": agent / gigabytes, "rate": gigabytes / done["seconds"]} | done

    # WebSockets

    def echo(self, target, sockets=200, rate=10):
        command = self.own("echo", target, "--count", sockets, "--rate", rate, "--seconds", self.seconds)
        cost = Cost(target)
        done = json.loads(self.run(command))
        proxy, agent, _ = cost.spent()
        if done["failed"] or done["broken"] or not done["echoes"]:
            raise Trouble(f"{done['failed']} WebSockets did not open, {done['broken']} broke: {done['why']}")
        each = 1e6 / done["echoes"]
        return {"micros": proxy * each, "agent": agent * each, "p50": done["p50_us"], "p99": done["p99_us"], "echoes": done["echoes"]}

    def keystrokes(self, target):
        """Few sockets, as many as people type into."""
        return self.echo(target, sockets=20, rate=10)

    def keystrokes_beside(self, target, bulk):
        """The same beside a download that takes what the others leave of the load's core."""
        command = self.own("get", bulk, "--path", f"/bytes/{1 << 40}", "--bytes", 1 << 50, "--seconds", self.seconds + 2.5)
        command = ["nice", "-n", "19", "taskset", "-c", str(LOAD_CORE), *map(str, command)]
        cost = Cost(bulk)
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            time.sleep(1)
            found = self.keystrokes(target)
            if running.poll() is not None:
                raise Trouble(f"the download beside it ended: {running.stderr.read().strip()}")
            told = json.loads(running.communicate(timeout=self.seconds + 30)[0] or "{}")
        finally:
            running.kill()
            running.wait()
        proxy, agent, taken = cost.spent()
        rate = told.get("bytes", 0) / told.get("seconds", 1) / 1e6
        if not rate:
            raise Trouble("nothing was downloaded beside it")
        return found | {"rate": rate, "busy": proxy / taken, "agent_busy": agent / taken}

    @contextlib.contextmanager
    def idle(self, target, count, ping=0):
        """Many WebSockets that only stay; gives what opening them was like, and afterwards `dropped`."""
        command = ["taskset", "-c", str(LOAD_CORE), *map(str, self.own("idle", target, "--count", count, "--ping", ping))]
        cost = Cost(target)
        running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            line = running.stdout.readline()
            if not line:
                raise Trouble(running.stderr.read().strip()[:300] or "the load ended without a word")
            told = json.loads(line)
            if told["failed"]:
                raise Trouble(f"{told['failed']} of {count} WebSockets did not open: {told['why']}")
            proxy, agent, _ = cost.spent()
            told |= {"micros": proxy / count * 1e6, "agent": agent / count * 1e6, "rate": count / told["seconds"]}
            yield told
            running.stdin.close()
            told |= json.loads(running.stdout.readline() or '{"dropped": -1, "why": "the load ended"}')
        finally:
            running.kill()
            running.wait()
            running.stdout.close()
            running.stderr.close()

    def storm(self, target, count):
        with self.idle(target, count) as told:
            pass
        if told["dropped"]:
            raise Trouble(f"{told['dropped']} of {count} WebSockets did not echo: {told['why']}")
        return told

    def connections_made(self, target, count, resume):
        command = self.own("connect", target, "--count", count, "--resume", "yes" if resume else "no")
        cost = Cost(target)
        done = json.loads(self.run(command))
        proxy, agent, _ = cost.spent()
        if done["failed"]:
            raise Trouble(f"{done['failed']} of {count} connections failed: {done['why']}")
        each = 1e6 / done["done"]
        return done | {"micros": proxy * each, "agent": agent * each, "rate": done["done"] / done["seconds"]}

    def kept(self, target, count, stay):
        """Memory of many idle WebSockets, after they stayed a while."""
        self.storm(target, 64)
        before = [resident_kib(pid) if pid else 0 for pid in (target.proxy, target.agent)]
        with self.idle(target, count) as told:
            time.sleep(stay)
            after = [resident_kib(pid) if pid else 0 for pid in (target.proxy, target.agent)]
        proxy, agent = ((late - early) / count for late, early in zip(after, before))
        return {"kib": proxy, "agent": agent, "dropped": told["dropped"], "before": before, "after": after}

    def reading(self, target, total, pace, seconds):
        """Starts a slow reader of one long body."""
        command = self.own("get", target, "--path", f"/bytes/{total}", "--bytes", total, "--pace", pace, "--seconds", seconds)
        command = ["taskset", "-c", str(LOAD_CORE), *map(str, command)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
