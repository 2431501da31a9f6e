"""What is measured in rounds: in each round every proxy has its turn with each part."""


def small(bench, scheme):
    for protocol in ["HTTP"] if scheme == "http" else ["HTTPS", "HTTP/2"]:
        what = f"small request, {protocol}"
        measure = lambda target, protocol=protocol: bench.load.small(target, protocol)
        for target, found in bench.each(what, bench.targets(scheme, public=True), measure):
            bench.add(what, "CPU µs", target, found["micros"], found["agent"])
            bench.add(f"{what}: one core, full", "per second", target, 1e6 / found["micros"], more=True)
            bench.add(f"{what}: seen", "per second", target, found["rate"], more=True)
            bench.add(f"{what}: core in use", "share", target, found["busy"], plain=True)


def transfers(bench, scheme):
    named = {"download": False, "upload": True, "down": True, "up": True}
    titles = {"down": "upgraded stream from the app", "up": "upgraded stream to the app"}
    for mode, echo in named.items():
        what = f"{titles.get(mode, mode)}, {scheme.upper()}"
        for target, found in bench.each(what, bench.targets(scheme, echo=echo), getattr(bench.load, mode)):
            bench.add(what, "CPU s/GB", target, found["per_gb"], found["agent"])
            bench.add(f"{what}: seen", "GB/s", target, found["rate"], more=True)


def echo(bench, scheme):
    what = f"echo of 64 B, {scheme.upper()}"
    for target, found in bench.each(what, bench.targets(scheme, echo=True, direct=True), bench.load.echo):
        if target.proxy:
            bench.add(what, "CPU µs", target, found["micros"], found["agent"])
        bench.add(f"{what}: p50", "µs", target, found["p50"], added=True)
        bench.add(f"{what}: p99", "µs", target, found["p99"], added=True)
    bulk = {target.name: target for target in bench.targets(scheme, bulk=True, direct=True)}
    typed = [target for target in bench.targets(scheme, echo=True, direct=True) if target.name in bulk]
    what = f"keystroke, {scheme.upper()}"
    for target, found in bench.each(f"{what}, alone", typed, bench.load.keystrokes):
        bench.add(f"{what}, alone: p50", "µs", target, found["p50"])
        bench.add(f"{what}, alone: p99", "µs", target, found["p99"])
    beside = lambda target: bench.load.keystrokes_beside(target, bulk[target.name])
    for target, found in bench.each(f"{what}, beside a download", typed, beside):
        bench.add(f"{what}, beside a download: p50", "µs", target, found["p50"])
        bench.add(f"{what}, beside a download: p99", "µs", target, found["p99"])
        bench.add(f"{what}, beside a download: that download", "MB/s", target, found["rate"], more=True)
        if target.proxy:
            bench.add(f"{what}, beside a download: core in use", "share", target, found["busy"], found["agent_busy"], plain=True)


def storm(bench, scheme):
    what = f"WebSocket opened, {scheme.upper()}"
    measure = lambda target: bench.load.storm(target, bench.given.storm)
    for target, found in bench.each(what, bench.targets(scheme, echo=True), measure):
        bench.add(what, "CPU µs", target, found["micros"], found["agent"])
        bench.add(f"{what}: rate", "per second", target, found["rate"], more=True)
    for resume in (False, True) if scheme == "https" else (False,):
        what = f"connection and one request, {scheme.upper()}{', session resumed' if resume else ''}"
        measure = lambda target, resume=resume: bench.load.connections_made(target, bench.given.storm, resume)
        for target, found in bench.each(what, bench.targets(scheme), measure):
            if resume and found["resumed"] < found["done"] / 2:
                bench.note(f"{what}, {target.name}: only {found['resumed']} of {found['done']} sessions were resumed.")
            bench.add(what, "CPU µs", target, found["micros"], found["agent"])
            bench.add(f"{what}: rate", "per second", target, found["rate"], more=True)


PARTS = {"small": small, "bytes": transfers, "echo": echo, "storm": storm}
