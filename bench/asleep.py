"""What a codespace costs that nobody uses: the time until it is back, and the memory that it holds meanwhile."""

import os
import time
from contextlib import closing

from engine import IMAGE, Engine
from measure import PRIVATE, Trouble
from place import BOTH_CORES, children, resident_kib, settled, until
from portico import made


def wake(bench):
    """From a visit to a stopped codespace to the first byte of its editor; gateway, agent and editor have both cores."""
    for gateway, codespace, suffix, _ in places(bench, "wake"):
        host = codespace.host()
        url = f"{gateway.scheme}://{host}:{gateway.port}/"
        first_byte(gateway, host, url, patience=60)
        for _ in range(2 if bench.given.quick else 5):
            gateway.command("codespace", "stop", codespace.name)
            until("the codespace stopped", lambda: gateway.api("GET", f"/codespaces/{codespace.name}")["state"] == "stopped", pause=0.1)
            time.sleep(0.5)
            bench.add(f"stopped codespace to first byte of its editor{suffix}", "ms", PRIVATE, first_byte(gateway, host, url, patience=60) * 1000)


def memory(bench):
    """What the agent of a codespace holds that nobody uses, and what it holds with its editor; no tab was ever open."""
    for gateway, codespace, suffix, agent in places(bench, "idle-codespace"):
        until("the editor is ready", lambda: gateway.api("GET", f"/codespaces/{codespace.name}")["editor"] == "ready", 120, 0.2)
        settled(agent(), 60)
        for _ in range(2 if bench.given.quick else 5):
            time.sleep(1 if bench.given.quick else 6)
            own = resident_kib(agent()) / 1024
            bench.add(f"idle codespace: agent{suffix}", "MiB", PRIVATE, own)
            bench.add(f"idle codespace: agent and editor{suffix}", "MiB", PRIVATE, own + sum(resident_kib(pid) for pid in children(agent())) / 1024)


def places(bench, name):
    """A codespace in a directory of this machine, and one in a container where there can be an engine; each ends when it is done."""
    editors = os.path.expanduser(bench.given.editors)
    if not os.path.isdir(editors):
        raise Trouble(f"no editor in {editors}; `portico editor install` brings one, --editors says where it is")
    more = {"core": BOTH_CORES, "editors": os.path.realpath(editors), "agent_core": BOTH_CORES}
    gateway = bench.another(name, **more)
    gateway.serve()
    gateway.enrol()
    codespace = gateway.create()
    yield gateway, codespace, "", lambda: min(gateway.agents())
    gateway.close()
    try:
        engine = Engine(BOTH_CORES)
    except RuntimeError as error:
        return bench.note(f"{name} in a container: {error}")
    with closing(engine):
        gateway = bench.another(f"{name}-docker", **more)
        gateway.use_engine(engine, IMAGE)
        gateway.serve()
        gateway.enrol()
        url = engine.serve(made(f"{gateway.directory}/served"))
        codespace = gateway.create(repository=url, agent=lambda name: engine.agent_of(name))
        yield gateway, codespace, ", in a container", lambda: engine.agent_of(codespace.name)
        gateway.close()


def first_byte(gateway, host, url, patience=20):
    """Seconds until the editor itself answered; asked a hundred times a second."""
    begun, codespace = time.monotonic(), gateway.first()

    started = []

    def answered():
        if not gateway.cookie_of(host):
            try:
                gateway.visit(host)
            except RuntimeError:
                return False
        status, headers, _ = gateway.browse(url, headers={"Sec-Fetch-Site": "none", "Sec-Fetch-User": "?1"})
        # Pages of ours have another status, or set a cookie of ours.
        if status in (200, 302) and "__Host-" not in str(headers.get("Set-Cookie")):
            return True
        if not started and gateway.api("GET", f"/codespaces/{codespace.name}")["state"] == "stopped":
            # The visit alone did not start it: the button of its page does.
            gateway.api("POST", f"/codespaces/{codespace.name}/start")
            started.append(True)
        return False

    until("the editor answers", answered, patience, pause=0.01)
    return time.monotonic() - begun


PARTS = {"wake": wake, "idle-codespace": memory}
