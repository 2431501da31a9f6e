"""The other proxies, each doing the least that a proxy can: everything on one port goes to one upstream, on one core."""

import os
import subprocess

from place import PROXY_CORE, end, free_port, listens, program, start, until

NGINX = """
daemon off; master_process off; pid {at}/pid; error_log {at}/log warn; worker_rlimit_nofile 20000;
events {{ worker_connections 19500; }}
http {{
  access_log off; keepalive_requests 100000000; client_max_body_size 0; proxy_max_temp_file_size 0;
  client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;
  map $http_upgrade $hop {{ default upgrade; "" ""; }}
  upstream app {{ server 127.0.0.1:{app}; keepalive 64; keepalive_requests 100000000; }}
  upstream echo {{ server 127.0.0.1:{echo}; keepalive 64; }}
  {tls_keys}
  proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $hop;
  proxy_request_buffering off; proxy_read_timeout 1h;
  server {{ listen 127.0.0.1:{plain} backlog=4096; {listen_tls} location / {{ proxy_pass http://app; }} }}
  server {{ listen 127.0.0.1:{plain_echo} backlog=4096; {listen_tls_echo} location / {{ proxy_pass http://echo; }} }}
}}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 9500
  ssl-server-verify none
defaults
  mode http
  backlog 4096
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
  http-reuse always
frontend app
  bind 127.0.0.1:{plain}
  {bind_tls}
  default_backend app
frontend echo
  bind 127.0.0.1:{plain_echo}
  {bind_tls_echo}
  default_backend echo
backend app
  server app 127.0.0.1:{app}
backend echo
  server echo 127.0.0.1:{echo}
"""

CADDY = """
{{
  admin off
  auto_https off
  persist_config off
}}
http://127.0.0.1:{plain} {{
  reverse_proxy 127.0.0.1:{app}
}}
http://127.0.0.1:{plain_echo} {{
  reverse_proxy 127.0.0.1:{echo}
}}
"""

TRAEFIK = """
entryPoints: {{ app: {{ address: "127.0.0.1:{plain}" }}, echo: {{ address: "127.0.0.1:{plain_echo}" }} }}
providers: {{ file: {{ filename: {at}/dynamic.yml }} }}
log: {{ level: ERROR }}
global: {{ checkNewVersion: false, sendAnonymousUsage: false }}
"""
TRAEFIK_ROUTES = """
http:
  routers:
    app: {{ entryPoints: [app], rule: "PathPrefix(`/`)", service: app }}
    echo: {{ entryPoints: [echo], rule: "PathPrefix(`/`)", service: echo }}
  services:
    app: {{ loadBalancer: {{ servers: [{{ url: "http://127.0.0.1:{app}" }}] }} }}
    echo: {{ loadBalancer: {{ servers: [{{ url: "http://127.0.0.1:{echo}" }}] }} }}
"""


class Peer:
    """One proxy; `plain` and `tls` are its ports to the app, `plain_echo` and `tls_echo` those to the echoing app."""

    speaks_tls = False
    echoes = True

    def __init__(self, directory, app, echo, tls=None):
        self.directory = f"{directory}/{self.name}"
        os.makedirs(self.directory, exist_ok=True)
        self.certificate = tls if self.speaks_tls else None
        self.ports = {name: free_port() for name in ("plain", "plain_echo", "tls", "tls_echo")}
        self.facts = {"at": self.directory, "app": app, "echo": echo, **self.ports}
        self.process = None

    def serve(self):
        self.process = start(self.command(), PROXY_CORE, f"{self.directory}/output")
        until(f"{self.name} listens", lambda: self.alive() and listens(self.ports["plain"]))

    def alive(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended; see {self.directory}/output")
        return True

    def restart(self):
        end(self.process)
        self.serve()

    def write(self, name, text, **more):
        with open(f"{self.directory}/{name}", "w") as file:
            file.write(text.format(**self.facts, **more))
        return f"{self.directory}/{name}"

    def close(self):
        if self.process:
            end(self.process)


class Nginx(Peer):
    name, speaks_tls, version_flag = "nginx", True, "-v"

    def command(self):
        listen = "listen 127.0.0.1:{} ssl http2 backlog=4096;"
        config = self.write(
            "nginx.conf",
            NGINX,
            tls_keys="ssl_certificate {certificate}; ssl_certificate_key {key};".format(**self.certificate) if self.certificate else "",
            listen_tls=listen.format(self.ports["tls"]) if self.certificate else "",
            # Chromium and the load speak WebSocket over HTTP/1.1 here; nginx knows no other way.
            listen_tls_echo=listen.format(self.ports["tls_echo"]).replace(" http2", "") if self.certificate else "",
        )
        return [program("nginx"), "-c", config]


class Haproxy(Peer):
    name, speaks_tls, version_flag = "haproxy", True, "-v"

    def command(self):
        bind = "bind 127.0.0.1:{} ssl crt {}/both.pem alpn {}"
        if self.certificate:
            with open(f"{self.directory}/both.pem", "w") as both:
                for part in ("certificate", "key"):
                    with open(self.certificate[part]) as file:
                        both.write(file.read())
        config = self.write(
            "haproxy.cfg",
            HAPROXY,
            bind_tls=bind.format(self.ports["tls"], self.directory, "h2,http/1.1") if self.certificate else "",
            bind_tls_echo=bind.format(self.ports["tls_echo"], self.directory, "http/1.1") if self.certificate else "",
        )
        return [program("haproxy"), "-db", "-f", config]


class Caddy(Peer):
    name, version_flag = "caddy", "version"

    def command(self):
        return [program("caddy"), "run", "--adapter", "caddyfile", "--config", self.write("Caddyfile", CADDY)]


class Traefik(Peer):
    name, version_flag = "traefik", "version"

    def command(self):
        self.write("dynamic.yml", TRAEFIK_ROUTES)
        return [program("traefik"), f"--configFile={self.write('traefik.yml', TRAEFIK)}"]


class ConfigurableHttpProxy(Peer):
    name, version_flag = "configurable-http-proxy", "--version"
    # It has one upstream without its API.
    echoes = False

    def command(self):
        words = [program(self.name), "--ip", "127.0.0.1", "--port", self.ports["plain"], "--api-ip", "127.0.0.1"]
        return [*words, "--api-port", free_port(), "--default-target", f"http://127.0.0.1:{self.facts['app']}", "--log-level", "error"]


ALL = [Nginx, Haproxy, Caddy, Traefik, ConfigurableHttpProxy]


def installed(wanted):
    """The proxies that are wanted and installed; nginx and HAProxy always are."""
    return [peer for peer in ALL if program(peer.name) and (not wanted or peer.name in wanted)]


def versions(peers):
    told = {}
    for peer in peers:
        done = subprocess.run([program(peer.name), peer.version_flag], capture_output=True, text=True)
        told[peer.name] = (done.stdout + done.stderr).strip().splitlines()[0]
    return told
