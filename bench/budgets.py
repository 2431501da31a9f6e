"""What Portico allows itself, each as a figure that the run finds, and the rows of the short table."""

from dataclasses import dataclass
from typing import Callable

from measure import PRIVATE as OWN

NGINX, HAPROXY = "nginx", "haproxy"


@dataclass
class Budget:
    what: str
    limit: float
    found: Callable
    """The figure in a report, or None where it was not measured."""
    unit: str = " ×"
    more: bool = False

    def verdict(self, found):
        if found is None:
            return "not measured"
        return "met" if (found >= self.limit if self.more else found <= self.limit) else "missed"


def against(measure, peer):
    return lambda report: report.ratio(measure, OWN, peer)


def median(measure):
    return lambda report: report.medians(measure).get(OWN)


def agent_against(measure, peer):
    def found(report):
        agent, other = report.agent(measure), report.medians(measure).get(peer)
        return agent / other if agent is not None and other else None

    return found


def between(measure, other, part):
    """A measure by another one, for one proxy."""

    def found(report):
        own, base = report.medians(measure).get(part), report.medians(other).get(part)
        return own / base if own is not None and base else None

    return found


def flat(report):
    """Cost with the most codespaces by cost with the fewest, each beside nginx at that moment."""
    name = "small request, HTTP, {} codespaces"
    few = report.ratio(name.format("10"), OWN, NGINX)
    many = report.ratio(name.format("100,000"), OWN, NGINX) or report.ratio(name.format("10,000"), OWN, NGINX)
    return many / few if few and many else None


def largest(*measures):
    """The worst of several figures; None if one of them is missing."""

    def found(report):
        values = [report.medians(measure).get(OWN) for measure in measures]
        return max(values) if None not in values else None

    return found


def stayed(suffix):
    """A figure of the WebSockets that stayed, however many and long they were."""

    def found(report):
        names = [name for name, known in report.measures.items() if known["part"] == "stay" and name.endswith(suffix)]
        return report.medians(names[0]).get(OWN) if names else None

    return found


def authorization(report):
    """Who it is and whether they may, from a connection's second request on: three pure steps, in ns."""
    names = ["host cookie: known, 100000 sessions", "policy: judge the page", "policy: private port, its owner"]
    values = [report.medians(f"step: {name}").get(OWN) for name in names]
    return sum(values) if None not in values else None


SMALL, ECHO, KEY = "small request, HTTPS", "echo of 64 B, HTTPS", "keystroke, HTTPS"
ALL = [
    Budget("small request, private, HTTPS: CPU beside nginx", 1.0, against(SMALL, NGINX)),
    Budget("small request, HTTPS: the agent's CPU beside nginx", 0.5, agent_against(SMALL, NGINX)),
    Budget("small request, HTTPS: throughput of one core beside nginx", 1.0, against(f"{SMALL}: one core, full", NGINX), more=True),
    Budget("download, HTTPS: CPU per GB beside HAProxy", 0.75, against("download, HTTPS", HAPROXY)),
    Budget("download, HTTP: CPU per GB beside HAProxy", 0.8, against("download, HTTP", HAPROXY)),
    Budget("upgraded stream from the app, HTTP: CPU per GB beside HAProxy", 0.4, against("upgraded stream from the app, HTTP", HAPROXY)),
    Budget("upgraded stream to the app, HTTP: CPU per GB beside HAProxy", 0.4, against("upgraded stream to the app, HTTP", HAPROXY)),
    Budget("WebSocket echo, HTTPS: CPU beside nginx", 1.0, against(ECHO, NGINX)),
    Budget("WebSocket echo, HTTPS: added p50 beside HAProxy", 1.0, against(f"{ECHO}: p50", HAPROXY)),
    Budget("WebSocket echo, HTTPS: added p99 beside HAProxy", 1.0, against(f"{ECHO}: p99", HAPROXY)),
    Budget("WebSockets opened per second, HTTPS, beside HAProxy", 1.0, against("WebSocket opened, HTTPS: rate", HAPROXY), more=True),
    Budget("keystroke beside a download, HTTPS: p50 by the idle one", 2.0, between(f"{KEY}, beside a download: p50", f"{KEY}, alone: p50", OWN)),
    Budget("idle WebSocket, HTTPS: gateway memory", 16, median("idle WebSocket, HTTPS"), " KiB"),
    Budget("idle WebSocket, HTTPS: memory beside HAProxy", 1.0, against("idle WebSocket, HTTPS", HAPROXY)),
    Budget("very many WebSockets: dropped", 0, stayed(": dropped"), ""),
    Budget("very many WebSockets: gateway memory each", 16384, stayed(": bytes each"), " B"),
    Budget("reader of 1 MB/s: memory grows", 2, largest("reader of 1 MB/s, HTTP: memory grows", "reader of 1 MB/s, HTTPS: memory grows"), " MiB"),
    Budget("10 GiB to a slow reader: memory grows", 2, largest("10 GiB to a slow reader, HTTP: memory grows", "10 GiB to a slow reader, HTTPS: memory grows"), " MiB"),
    Budget("start to first answer with 10,000 codespaces", 100, median("start, 10,000 codespaces"), " ms"),
    Budget("stopped codespace to first byte of its editor", 1500, median("stopped codespace to first byte of its editor"), " ms"),
    Budget("authorization of a request", 1000, authorization, " ns"),
    # Flat within what a run of this kind can tell.
    Budget("cost with the most codespaces by cost with 10", 1.1, flat),
]

SHOWN = [
    ("small request, HTTP/1.1", "small request, HTTP"),
    ("small request, HTTPS", "small request, HTTPS"),
    ("small request, HTTP/2", "small request, HTTP/2"),
    ("one core full of them, HTTPS", "small request, HTTPS: one core, full"),
    ("download, HTTP", "download, HTTP"),
    ("download, HTTPS", "download, HTTPS"),
    ("upload, HTTPS", "upload, HTTPS"),
    ("WebSocket bytes from the app, HTTP", "upgraded stream from the app, HTTP"),
    ("WebSocket echo, HTTPS", "echo of 64 B, HTTPS"),
    ("its p50, HTTPS", "echo of 64 B, HTTPS: p50"),
    ("its p99, HTTPS", "echo of 64 B, HTTPS: p99"),
    ("a keystroke's echo, HTTPS", "keystroke, HTTPS, alone: p50"),
    ("the same beside a download", "keystroke, HTTPS, beside a download: p50"),
    ("WebSockets opened, HTTPS", "WebSocket opened, HTTPS: rate"),
    ("TLS connections with a request", "connection and one request, HTTPS: rate"),
    ("idle WebSocket, HTTPS", "idle WebSocket, HTTPS"),
    ("start with 10,000 codespaces", "start, 10,000 codespaces"),
    ("first byte of a stopped codespace's editor", "stopped codespace to first byte of its editor"),
    ("the same, in a container", "stopped codespace to first byte of its editor, in a container"),
    ("idle codespace, its agent", "idle codespace: agent"),
    ("its agent and editor", "idle codespace: agent and editor"),
    ("in a container, its agent", "idle codespace: agent, in a container"),
    ("in a container, its agent and editor", "idle codespace: agent and editor, in a container"),
    ("small request with 100,000 codespaces", "small request, HTTP, 100,000 codespaces"),
]
