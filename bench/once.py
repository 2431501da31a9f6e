"""What is measured once, or in rounds of its own, because it starts processes anew or takes minutes."""

import glob
import json
import os
import subprocess
import time

import asleep
import fill
from measure import PRIVATE, Trouble
from place import LOAD_CORE, TOP, cpu_seconds, descriptors, end, resident_kib, settled, until

TEN_GIB = 10 << 30


def idle(bench):
    """In processes that were just started: memory that was used before would hide what is used now."""
    for scheme, gateway in bench.gateways.items():
        bench.say(f"{scheme}: {bench.given.idle} idle WebSockets")
        for process in (gateway, *bench.peers):
            process.restart()
        what = f"idle WebSocket, {scheme.upper()}"
        measure = lambda target: bench.load.kept(target, bench.given.idle, bench.given.stay)
        for target, found in bench.each(what, bench.targets(scheme, echo=True), measure):
            bench.add(what, "KiB", target, found["kib"], found["agent"])
            if found["dropped"]:
                bench.note(f"{what}, {target.name}: {found['dropped']} of {bench.given.idle} were dropped.")


def stay(bench):
    """Very many WebSockets for minutes, over HTTPS through three agents, with a ping each half minute; at the end each must echo."""
    scheme = "https" if "https" in bench.gateways else "http"
    gateway, agents = bench.gateways[scheme], 3
    gateway.restart()
    while len(gateway.codespaces) < agents:
        bench.say("another codespace")
        gateway.create(bench.app)
    each, seconds = bench.given.many // agents, bench.given.minutes * 60
    targets = [bench.own_target(gateway, codespace, codespace.echo, codespace.echo_headers) for codespace in gateway.codespaces[:agents]]
    for target in targets:
        bench.load.storm(target, 64)
    pids = [gateway.process.pid, *(target.agent for target in targets)]
    before = [resident_kib(pid) for pid in pids]
    bench.say(f"{each * agents:,} WebSockets over {scheme} for {bench.given.minutes:g} minutes")
    opened, series = [], []
    try:
        for target in targets:
            context = bench.load.idle(target, each, ping=min(30, seconds / 3))
            opened.append((context, context.__enter__()))
        late = time.monotonic() + seconds
        while time.monotonic() < late:
            time.sleep(min(10, max(0.1, late - time.monotonic())))
            series.append([resident_kib(pid) for pid in pids])
        used = descriptors(pids[0]), descriptors(pids[1])
    finally:
        for context, _ in opened:
            context.__exit__(None, None, None)
    dropped, pings = (sum(told[name] for _, told in opened) for name in ("dropped", "pings"))
    growth = [late - early for late, early in zip(series[-1], before)]
    what = f"{each * agents:,} WebSockets, {scheme.upper()}, {bench.given.minutes:g} min"
    raw = {"before": before, "series_kib": series, "pings": pings, "descriptors": used, "told": [told for _, told in opened]}
    bench.add(f"{what}: bytes each", "B", PRIVATE, growth[0] * 1024 / (each * agents), sum(growth[1:]) * 1024 / (each * agents), raw=raw)
    bench.add(f"{what}: dropped", "sockets", PRIVATE, dropped)
    bench.add(f"{what}: pings answered", "pings", PRIVATE, pings, plain=True)
    bench.add(f"{what}: descriptors in use", "of the gateway", PRIVATE, used[0][0], used[1][0], plain=True)
    bench.say(f"{dropped} dropped, {pings} pings answered; descriptors (used, most): gateway {used[0]}, one agent {used[1]}")


def slow(bench):
    """Bodies of 10 GiB to slow readers, over each scheme at once: what the gateway and the agent hold grows or not."""
    seconds = bench.given.slow * 60
    total = TEN_GIB if not bench.given.quick else 64 << 20
    runs = [("reader of 1 MB/s", TEN_GIB, 1e6, seconds), ("10 GiB to a slow reader", total, total / (seconds * 4 / 3), 3600)]
    for title, size, pace, limit in runs:
        bench.say(f"{title}: {min(limit, size / pace):.0f} s at {pace / 1e6:.1f} MB/s")
        readers = []
        for scheme, gateway in bench.gateways.items():
            codespace = gateway.first()
            target = bench.own_target(gateway, codespace, codespace.echo, codespace.echo_headers)
            # Warm: what a fast download and a short slow one need is there already.
            bench.load.run(bench.load.own("get", target, "--path", f"/bytes/{256 << 20}", "--bytes", 256 << 20))
            bench.load.reading(target, size, pace, min(5, seconds)).communicate()
            time.sleep(1)
            pids = [target.proxy, target.agent]
            readers.append([scheme, pids, [resident_kib(pid) for pid in pids], bench.load.reading(target, size, pace, limit), []])
        try:
            while any(process.poll() is None for _, _, _, process, _ in readers):
                time.sleep(1)
                for _, pids, _, _, series in readers:
                    series.append([resident_kib(pid) for pid in pids])
            for scheme, _, before, process, series in readers:
                _told_slow(bench, f"{title}, {scheme.upper()}", before, process, series, size if limit == 3600 else None)
        finally:
            for reader in readers:
                reader[3].kill()
                reader[3].wait()


def _told_slow(bench, what, before, process, series, wanted):
    out, err = process.communicate()
    if process.returncode:
        bench.note(f"{what}: {err.strip()[-300:]}")
        return
    told = json.loads(out)
    if wanted and told["bytes"] < wanted:
        bench.note(f"{what}: only {told['bytes']:,} of {wanted:,} bytes came.")
        return
    tenth = min(10, len(series) // 2)
    grown, later = ([max(sample[index] for sample in series[after:]) - base[index] for index in (0, 1)] for after, base in ((0, before), (tenth, series[tenth])))
    raw = told | {"before_kib": before, "series_kib": series}
    bench.add(f"{what}: grows after its first ten seconds", "MiB", PRIVATE, later[0] / 1024, later[1] / 1024)
    bench.add(f"{what}: memory grows", "MiB", PRIVATE, grown[0] / 1024, grown[1] / 1024, raw=raw)
    bench.add(f"{what}: it took", "s", PRIVATE, told["seconds"], plain=True)


def start_time(bench):
    """From the start of the process to its first answer, with that many codespaces in the store."""
    gateway = bench.another("start")
    gateway.serve()
    end(gateway.process)
    for count in (10, 1000, 10_000, 100_000):
        fill.fill(f"{gateway.data}/portico.db", count)
        bench.say(f"start with {count:,} codespaces")
        for _ in range(2 if bench.given.quick or count > 10_000 else 5):
            begun = time.monotonic()
            gateway.serve(120, pause=0.001)
            bench.add(f"start, {count:,} codespaces", "ms", PRIVATE, (time.monotonic() - begun) * 1000)
            bench.add(f"start, {count:,} codespaces: CPU", "ms", PRIVATE, cpu_seconds(gateway.process.pid) * 1000)
            end(gateway.process, 30)
    gateway.close()


def scale(bench):
    """A small request while many other codespaces, users, sessions and ports are known; in a gateway of its own."""
    gateway = bench.another("scale")
    gateway.serve()
    gateway.enrol()
    codespace = gateway.create(bench.app)
    for count in (10, 1000, 10_000) if bench.given.quick else (10, 1000, 100_000):
        bench.say(f"small requests with {count:,} codespaces")
        end(gateway.process, 60)
        fill.fill(f"{gateway.data}/portico.db", count)
        begun = time.monotonic()
        gateway.serve(120)
        gateway.come_back(120)
        bench.add(f"start and agent back, {count:,} codespaces", "ms", PRIVATE, (time.monotonic() - begun) * 1000)
        settled(gateway.process.pid, 120)
        what = f"small request, HTTP, {count:,} codespaces"
        own = bench.own_target(gateway, codespace, codespace.private, codespace.headers)
        beside = [target for target in bench.targets("http") if target.name == "nginx"] if "http" in bench.gateways else []
        for _ in range(bench.given.rounds):
            for target, found in bench.each(what, [*beside, own], lambda target: bench.load.small(target, "HTTP")):
                bench.add(what, "CPU µs", target, found["micros"], found["agent"])
        bench.add(f"memory with {count:,} codespaces", "MiB", PRIVATE, resident_kib(gateway.process.pid) / 1024, plain=True)
    gateway.close()


def steps(bench):
    """The pure steps, by criterion, where `cargo bench --no-run` has built them."""
    built = sorted(glob.glob(f"{TOP}/target/release/deps/steps-*[0-9a-f]"), key=os.path.getmtime)
    if not built:
        raise Trouble("the pure steps are not built: cargo bench --no-run --bench steps")
    directory = f"{bench.directory}/criterion"
    command = ["taskset", "-c", str(LOAD_CORE), built[-1], "--bench", "--noplot", "--warm-up-time", "0.5", "--measurement-time", "1"]
    done = subprocess.run(command, env=os.environ | {"CRITERION_HOME": directory}, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise Trouble(done.stderr.strip()[-300:])
    for path in sorted(glob.glob(f"{directory}/*/new/estimates.json")):
        with open(path) as file:
            nanoseconds = json.load(file)["median"]["point_estimate"]
        with open(f"{os.path.dirname(path)}/benchmark.json") as file:
            name = json.load(file)["title"]
        bench.add(f"step: {name}", "ns", PRIVATE, nanoseconds)


PARTS = {"idle": idle, "slow": slow, "start": start_time, "scale": scale, **asleep.PARTS, "steps": steps, "stay": stay}
