"""The other proxies, each doing the least that a proxy can: everything on one port goes to one upstream, on one core."""

import os
import re
import subprocess

import peer_configs as configs
from place import PROXY_CORE, end, free_port, listens, program, start, until


class Peer:
    """One proxy; `plain` and `tls` are its ports to the app, `plain_echo` and `tls_echo` those to the echoing app."""

    speaks_tls = True
    echoes = True
    # Whether a path leads to the app that only sends bytes, for the echo beside a download.
    bulk = False

    def __init__(self, directory, codespace, tls, logs):
        self.directory = f"{directory}/{self.name}"
        os.makedirs(self.directory, exist_ok=True)
        self.certificate, self.logs = tls, logs
        self.ports = {name: free_port() for name in ("plain", "plain_echo", "tls", "tls_echo", "own")}
        apps = {"app": codespace.private, "echo": codespace.echo, "bulk": codespace.bulk}
        self.facts = {"at": self.directory, **apps, **self.ports, **(tls or {"certificate": "", "key": ""})}
        self.process = None

    def serve(self):
        self.process = start(self.command(), PROXY_CORE, f"{self.directory}/output", env=self.environment())
        wanted = ["plain", *(["tls"] if self.certificate and self.speaks_tls else [])]
        until(f"{self.name} listens", lambda: self.alive() and all(listens(self.ports[name]) for name in wanted))

    def environment(self):
        return os.environ | {"GOMAXPROCS": "1", "HOME": self.directory, "XDG_DATA_HOME": self.directory, "XDG_CONFIG_HOME": self.directory}

    def running(self):
        return self.process is not None and self.process.poll() is None

    def alive(self):
        if not self.running():
            with open(f"{self.directory}/output", errors="replace") as output:
                raise RuntimeError(f"{self.name} ended: {output.read().strip()[-300:]}")
        return True

    def restart(self):
        self.close()
        self.serve()

    def write(self, name, text, **more):
        with open(f"{self.directory}/{name}", "w") as file:
            file.write(text.format(**self.facts, **more))
        return f"{self.directory}/{name}"

    def close(self):
        if self.process:
            end(self.process)


class Nginx(Peer):
    name, version_flag, bulk = "nginx", "-v", True

    def command(self):
        listen = "listen 127.0.0.1:{} ssl http2 backlog=4096;"
        config = self.write(
            "nginx.conf",
            configs.NGINX,
            log=f"{self.directory}/access.log combined" if self.logs else "off",
            tls_keys="ssl_certificate {certificate}; ssl_certificate_key {key};".format(**self.certificate) if self.certificate else "",
            listen_tls=listen.format(self.ports["tls"]) if self.certificate else "",
            # Chromium and the load speak WebSocket over HTTP/1.1 here; nginx knows no other way.
            listen_tls_echo=listen.format(self.ports["tls_echo"]).replace(" http2", "") if self.certificate else "",
        )
        return [program("nginx"), "-c", config]


class Haproxy(Peer):
    name, version_flag, bulk = "haproxy", "-v", True

    def command(self):
        bind = "bind 127.0.0.1:{} ssl crt {}/both.pem alpn {}"
        if self.certificate:
            with open(f"{self.directory}/both.pem", "w") as both:
                for part in ("certificate", "key"):
                    with open(self.certificate[part]) as file:
                        both.write(file.read())
        config = self.write(
            "haproxy.cfg",
            configs.HAPROXY,
            log="log stdout format raw local0\n  option httplog" if self.logs else "no log",
            bind_tls=bind.format(self.ports["tls"], self.directory, "h2,http/1.1") if self.certificate else "",
            bind_tls_echo=bind.format(self.ports["tls_echo"], self.directory, "http/1.1") if self.certificate else "",
        )
        return [program("haproxy"), "-db", "-f", config]


class Caddy(Peer):
    name, version_flag = "caddy", "version"

    def command(self):
        log = f"log {{\n output file {self.directory}/access.log {{\n roll_disabled\n }}\n }}" if self.logs else ""
        tls = self.write("tls", configs.CADDY_TLS, log=log) if self.certificate else None
        if tls:
            with open(tls) as file:
                tls = file.read()
        return [program("caddy"), "run", "--adapter", "caddyfile", "--config", self.write("Caddyfile", configs.CADDY, log=log, sites=tls or "")]


class Traefik(Peer):
    name, version_flag = "traefik", "version"

    def command(self):
        routes = configs.TRAEFIK_ROUTES + (configs.TRAEFIK_TLS_ROUTES if self.certificate else "") + configs.TRAEFIK_SERVICES
        self.write("dynamic.yml", routes + (configs.TRAEFIK_CERTIFICATE if self.certificate else ""))
        log = f"accessLog: {{ filePath: {self.directory}/access.log }}" if self.logs else ""
        return [program("traefik"), f"--configFile={self.write('traefik.yml', configs.TRAEFIK, log=log)}"]


class Envoy(Peer):
    name, version_flag = "envoy", "--version"

    def command(self):
        path = f"{self.directory}/envoy.json"
        with open(path, "w") as file:
            file.write(configs.envoy(self.facts, bool(self.certificate), self.logs))
        return [program("envoy"), "-c", path, "--concurrency", 1, "--disable-hot-restart", "-l", "error"]


class ConfigurableHttpProxy(Peer):
    name, version_flag = "configurable-http-proxy", "--version"
    # Without its API it has one upstream, and one way in.
    echoes = speaks_tls = False

    def command(self):
        words = [program(self.name), "--ip", "127.0.0.1", "--port", self.ports["plain"], "--api-ip", "127.0.0.1"]
        return [*words, "--api-port", self.ports["own"], "--default-target", f"http://127.0.0.1:{self.facts['app']}", "--log-level", "error"]


ALL = [Nginx, Haproxy, Envoy, Caddy, Traefik, ConfigurableHttpProxy]


def chosen(wanted):
    """The proxies that are wanted and installed, and the names of those that are wanted and absent."""
    names = [kind.name for kind in ALL] if "all" in wanted else ["nginx", "haproxy", *wanted]
    unknown = set(names) - {kind.name for kind in ALL}
    kinds = [kind for kind in ALL if kind.name in names and program(kind.name)]
    absent = [kind.name for kind in ALL if kind.name in names and not program(kind.name)]
    return kinds, [*absent, *sorted(unknown)]


def versions(kinds):
    told = {}
    for kind in kinds:
        done = subprocess.run([program(kind.name), kind.version_flag], capture_output=True, text=True)
        found = re.search(r"\d+\.\d+(\.\d+)*", done.stdout + done.stderr)
        told[kind.name] = found[0] if found else "unknown"
    return told
