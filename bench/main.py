"""The side-by-side run: starts everything, measures in interleaved rounds, tells what was found, ends everything."""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time

import fill
import peers
import portico
from measure import Load, Target, Trouble, settled
from place import LOAD_CORE, PROXY_CORE, end, machine
from report import NO_PROXY, PRIVATE, PUBLIC, Report

PARTS = ["small", "bytes", "echo", "storm", "idle", "start", "scale"]
TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def options():
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of everything that is interleaved (3)")
    parser.add_argument("--seconds", type=float, default=4, help="length of one measurement (4)")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, by commas, of: {', '.join(PARTS)}")
    parser.add_argument("--schemes", default="http,https", help="http, https or both (where the binary speaks TLS)")
    parser.add_argument("--peers", default="", help="names of proxies besides nginx and HAProxy (all that are installed)")
    parser.add_argument("--connections", type=int, default=64, help="connections that send small requests (64)")
    parser.add_argument("--idle", type=int, default=3000, help="idle WebSockets (3000)")
    parser.add_argument("--stay", type=float, default=3, help="how long they stay, in seconds (3)")
    parser.add_argument("--storm", type=int, default=1000, help="WebSockets opened at a stroke (1000)")
    parser.add_argument("--agent-core", type=int, default=LOAD_CORE, help=f"core of the agent ({LOAD_CORE}, with the app; {PROXY_CORE} is the proxy's)")
    parser.add_argument("--out", default=f"{TOP}/target/bench", help="where result.md, result.json and ratios.svg go")
    parser.add_argument("--quick", action="store_true", help="one short round with small numbers, to see that all of it works")
    parser.add_argument("--keep", action="store_true", help="keep the directory with configurations and logs")
    parser.add_argument("--profile", default="release", help="which build to take with --no-build; only release says anything")
    parser.add_argument("--no-build", action="store_true", help="use the binaries that are there")
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.seconds, given.idle, given.storm, given.stay = 1, 1, 200, 200, 1
    given.only = given.only.split(",")
    unknown = set(given.only) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    return given


class Bench:
    def __init__(self, given, stack):
        self.given, self.stack, self.report = given, stack, Report()
        self.directory = tempfile.mkdtemp(prefix="pb-", dir="/tmp")
        if not given.keep:
            stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        else:
            say(f"logs: {self.directory}")
        built = f"{TOP}/target/{given.profile}"
        self.binary, self.app = f"{built}/portico", f"{built}/examples/bench-app"
        self.load = Load(f"{built}/examples/bench-load", given.seconds, given.connections)
        wanted = set(given.peers.split(",")) | {"nginx", "haproxy"} if given.peers else None
        self.kinds = peers.installed(wanted)
        self.gateways, self.peers = {}, []

    def start(self):
        repository = portico.repository(f"{self.directory}/project")
        self.tls = self.certificate() if "https" in self.given.schemes else None
        for scheme in ("http", "https"):
            if scheme not in self.given.schemes or scheme == "https" and not self.tls:
                continue
            say(f"Portico over {scheme}, its codespace and an app inside it")
            os.makedirs(f"{self.directory}/{scheme}")
            gateway = portico.Portico(self.binary, f"{self.directory}/{scheme}", self.given.agent_core, self.tls if scheme == "https" else None)
            self.stack.callback(gateway.close)
            gateway.serve()
            gateway.populate(repository, self.app)
            self.gateways[scheme] = gateway
        gateway = next(iter(self.gateways.values()))
        for kind in self.kinds:
            say(kind.name)
            peer = kind(self.directory, gateway.private, gateway.echo, self.tls)
            self.stack.callback(peer.close)
            peer.serve()
            self.peers.append(peer)

    def certificate(self):
        """Certificates from the project's own script, where the binary speaks TLS."""
        if not portico.speaks_tls(self.binary, self.directory):
            self.report.note("This binary does not speak TLS: no HTTPS, no HTTP/2.")
            return None
        return portico.certificate(f"{TOP}/certs/make-local-ca", f"{self.directory}/tls")

    # Who is measured

    def targets(self, scheme, echo=False, public=False, direct=False):
        gateway, found = self.gateways[scheme], []
        tls = scheme == "https"
        app = gateway.echo if echo else gateway.private
        ca = self.tls["ca"] if tls else None
        host = gateway.host(app)
        if direct:
            found.append(Target(NO_PROXY, app, host))
        for peer in self.peers:
            if (tls and not peer.speaks_tls) or (echo and not peer.echoes):
                continue
            port = peer.ports[("tls" if tls else "plain") + ("_echo" if echo else "")]
            found.append(Target(peer.name, port, host, ca=ca, proxy=peer.process.pid))
        own = {"ca": ca, "proxy": gateway.process.pid, "agent": gateway.agent}
        if public:
            found.append(Target(PUBLIC, gateway.port, gateway.host(gateway.public), **own))
        found.append(Target(PRIVATE, gateway.port, host, gateway.echo_headers if echo else gateway.headers, **own))
        return found

    def each(self, what, targets, measure):
        """Measures each target in turn; a measurement that fails is told and costs only itself."""
        for target in targets:
            try:
                yield target, measure(target)
            except (Trouble, OSError, ValueError, TypeError, TimeoutError) as error:
                self.report.note(f"{what}, {target.name}: {error}")

    # The parts

    def round(self, number):
        for scheme in self.gateways:
            for part in ("small", "bytes", "echo", "storm"):
                if part in self.given.only:
                    say(f"round {number}, {scheme}: {part}")
                    getattr(self, part)(scheme)

    def small(self, scheme):
        for protocol in ["HTTP"] if scheme == "http" else ["HTTPS", "HTTP/2"]:
            what = f"small request, {protocol}"
            measure = lambda target, protocol=protocol: self.load.small(target, protocol)
            for target, found in self.each(what, self.targets(scheme, public=True), measure):
                self.report.add(what, "CPU µs", target.name, found["micros"], found["agent"])
                self.report.add(f"{what}: throughput", "per second", target.name, found["rate"], more=True)
                self.report.add(f"{what}: one core, full", "per second", target.name, 1e6 / found["micros"], more=True)
                self.report.add(f"{what}: core in use", "share", target.name, found["busy"], more=True)

    def bytes(self, scheme):
        for what in ("download", "upload"):
            echo = what == "upload"
            named = f"{what}, {scheme.upper()}"
            for target, found in self.each(named, self.targets(scheme, echo=echo), getattr(self.load, what)):
                self.report.add(named, "CPU s/GB", target.name, found["per_gb"], found["agent"])

    def echo(self, scheme):
        alone = f"echo of 64 B, {scheme.upper()}"
        for target, found in self.each(alone, self.targets(scheme, echo=True, direct=scheme == "http"), self.load.echo):
            if target.proxy:
                self.report.add(f"{alone}", "CPU µs", target.name, found["micros"], found["agent"])
            self.report.add(f"{alone}: p50", "µs", target.name, found["p50"], added=True)
            self.report.add(f"{alone}: p99", "µs", target.name, found["p99"], added=True)
        beside = f"echo beside a download, {scheme.upper()}"
        large = {target.name: target for target in self.targets(scheme)}

        def measure(target):
            with self.load.downloading(large[target.name]):
                return self.load.echo(target)

        for target, found in self.each(beside, self.targets(scheme, echo=True), measure):
            self.report.add(f"{beside}: p50", "µs", target.name, found["p50"])
            self.report.add(f"{beside}: p99", "µs", target.name, found["p99"])

    def storm(self, scheme):
        what = f"WebSocket opened, {scheme.upper()}"
        measure = lambda target: self.load.storm(target, self.given.storm)
        for target, found in self.each(what, self.targets(scheme, echo=True), measure):
            self.report.add(what, "CPU µs", target.name, found["micros"], found["agent"])
            self.report.add(f"{what}: rate", "per second", target.name, found["rate"], more=True)

    def idle(self):
        """Once, in processes that were just started: memory that was used before would hide what is used now."""
        for scheme, gateway in self.gateways.items():
            say(f"{scheme}: {self.given.idle} idle WebSockets")
            for process in (gateway, *self.peers):
                process.restart()
            what = f"idle WebSocket, {scheme.upper()}"
            measure = lambda target: self.load.kept(target, self.given.idle, self.given.stay)
            for target, found in self.each(what, self.targets(scheme, echo=True), measure):
                self.report.add(what, "KiB", target.name, found["kib"], found["agent"])
                if found["dropped"]:
                    self.report.note(f"{what}, {target.name}: {found['dropped']} of {self.given.idle} were dropped.")

    def start_time(self):
        """From the start of the process to its first answer, with that many codespaces in the store."""
        directory = f"{self.directory}/start"
        os.makedirs(directory)
        gateway = portico.Portico(self.binary, directory, self.given.agent_core)
        self.stack.callback(gateway.close)
        gateway.serve()
        end(gateway.process)
        for count in (10, 10_000):
            fill.fill(f"{gateway.data}/portico.db", count)
            say(f"start with {count:,} codespaces")
            for _ in range(2 if self.given.quick else 5):
                begun = time.monotonic()
                gateway.serve(pause=0.001)
                taken = time.monotonic() - begun
                self.report.add(f"start, {count:,} codespaces", "ms", PRIVATE, taken * 1000)
                end(gateway.process)

    def scale(self):
        """A small request while many other codespaces, users, sessions and ports are known."""
        gateway = self.gateways.get("http")
        if not gateway:
            return
        for count in (10, 1000, 10_000) if self.given.quick else (10, 1000, 100_000):
            say(f"small requests with {count:,} codespaces")
            end(gateway.process, 60)
            fill.fill(f"{gateway.data}/portico.db", count)
            begun = time.monotonic()
            gateway.restart(patience=120)
            self.report.add(f"start and agent back, {count:,} codespaces", "ms", PRIVATE, (time.monotonic() - begun) * 1000)
            settled(gateway.process.pid, 120)
            what = f"small request, HTTP, {count:,} codespaces"
            for _ in range(self.given.rounds):
                mine = [target for target in self.targets("http") if target.name in ("nginx", PRIVATE)]
                for target, found in self.each(what, mine, lambda target: self.load.small(target, "HTTP")):
                    self.report.add(what, "CPU µs", target.name, found["micros"], found["agent"])

    def run(self):
        self.start()
        facts = machine() | {"rounds": self.given.rounds, "seconds": self.given.seconds, "versions": peers.versions(self.kinds)}
        try:
            for number in range(1, self.given.rounds + 1):
                self.round(number)
            for part, measure in (("idle", self.idle), ("start", self.start_time), ("scale", self.scale)):
                if part in self.given.only:
                    measure()
        finally:
            # Also what was found before it was interrupted.
            self.tell(facts | {"load_after": list(os.getloadavg())})

    def tell(self, facts):
        os.makedirs(self.given.out, exist_ok=True)
        names = [kind.name for kind in self.kinds]
        self.report.write(self.given.out, names, facts)
        print(f"\n{self.report.table(names)}\n\nThe same, all values and a plot: {self.given.out}/", flush=True)


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main():
    given = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with contextlib.ExitStack() as stack:
        Bench(given, stack).run()


if __name__ == "__main__":
    main()
