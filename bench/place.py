"""Where things run: ports, processes on a core, and what they cost. Everything started here ends here."""

import os
import signal
import shutil
import socket
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")
TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Proxies that `--fetch-peers` brought.
FETCHED = f"{TOP}/target/bench/peers"
SEARCH = ":".join([f"{FETCHED}/bin", f"{FETCHED}/node_modules/.bin", os.environ.get("PATH", ""), "/usr/sbin:/sbin"])
# Proxies have this core for themselves; load and app share the other.
PROXY_CORE, LOAD_CORE = 0, 1
BOTH_CORES = f"{PROXY_CORE},{LOAD_CORE}"


def program(name):
    """The path of an installed program, or None."""
    return shutil.which(name, path=SEARCH)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command, core, log, **more):
    """Starts a command on one core, in a process group of its own; what it says goes into a file."""
    with open(log, "ab") as output:
        return subprocess.Popen(
            ["taskset", "-c", str(core), *map(str, command)],
            stdin=more.pop("stdin", subprocess.DEVNULL),
            stdout=output,
            stderr=output,
            start_new_session=True,
            **more,
        )


def end(process, patience=10):
    """Ends a process and its group: asked first, then made to."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def pin(pid, core):
    """Moves a process that runs already, with all its threads."""
    subprocess.run(["taskset", "-a", "-c", "-p", str(core), str(pid)], check=True, stdout=subprocess.DEVNULL)


def cpu_seconds(pid):
    """CPU time of a process so far, its own and the kernel's for it, in seconds; to 10 ms."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_kib(pid):
    """Memory of a process's own, swapped out or not; pages of files come and go as the kernel likes."""
    with open(f"/proc/{pid}/status") as status:
        return sum(int(line.split()[1]) for line in status if line.startswith(("RssAnon", "VmSwap")))


def children(pid):
    """Process ids of all that a process started, and of what that started."""
    below = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as stat:
                below.setdefault(int(stat.read().rsplit(")", 1)[1].split()[1]), []).append(int(name))
        except OSError:
            continue
    found, left = [], [pid]
    while left:
        left += below.get(left[0], [])
        found += below.get(left.pop(0), [])
    return found


def descriptors(pid):
    """Open descriptors of a process, and how many it may have."""
    with open(f"/proc/{pid}/limits") as limits:
        most = next(int(line.split()[3]) for line in limits if line.startswith("Max open files"))
    return len(os.listdir(f"/proc/{pid}/fd")), most


def until(what, found, patience=30, pause=0.02):
    """Waits until `found()` is true and returns it."""
    late = time.monotonic() + patience
    while True:
        value = found()
        if value:
            return value
        if time.monotonic() > late:
            raise TimeoutError(f"{what}: not within {patience} s")
        time.sleep(pause)


def settled(pid, patience=20):
    """Waits until a process has nothing left to do: it used less than a tenth of a core for half a second."""

    def quiet():
        before = cpu_seconds(pid)
        time.sleep(0.5)
        return cpu_seconds(pid) - before < 0.05

    until("the process comes to rest", quiet, patience)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def shorten(directory, most=1 << 20):
    """Empties logs that have grown large; whoever writes them goes on at their new end."""
    for at, _, names in os.walk(directory):
        for name in names:
            path = f"{at}/{name}"
            if name in ("access.log", "output", "gateway.log") and os.path.getsize(path) > most:
                os.truncate(path, 0)


def machine():
    """What the figures depend on, without names."""
    with open("/proc/cpuinfo") as cpuinfo:
        model = next((line.split(":", 1)[1].strip() for line in cpuinfo if line.startswith("model name")), "unknown")
    with open("/proc/meminfo") as meminfo:
        memory = int(meminfo.readline().split()[1]) // 1024
    return {"cpu": model, "cores": os.cpu_count(), "memory_mib": memory, "kernel": os.uname().release, "load": list(os.getloadavg())}
