"""A codespace with an app inside: what answers behind the gateway, and behind the other proxies as well."""

import json
import os

from place import LOAD_CORE, free_port, program, until

UPSTREAM = """
daemon off; master_process off; pid {at}/app.pid; error_log {at}/app.log warn; worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}
http {{
  access_log off; sendfile on; keepalive_requests 100000000; client_body_temp_path {at}/app.body;
  proxy_temp_path {at}/app.proxy; fastcgi_temp_path {at}/app.f; uwsgi_temp_path {at}/app.u; scgi_temp_path {at}/app.s;
  server {{
    listen 127.0.0.1:{public} backlog=4096; listen 127.0.0.1:{private} backlog=4096;
    location = /large {{ default_type application/octet-stream; alias {at}/large; }}
    location / {{ default_type text/plain; return 200 "hello, world\\n"; }}
  }}
}}
"""


class Codespace:
    """`private` and `public` are nginx with small and large answers, `echo` is our own app, `bulk` that once more."""

    def __init__(self, gateway, name, agent, directory):
        self.gateway, self.name, self.agent, self.directory = gateway, name, agent, directory
        self.public = self.private = self.echo = self.bulk = None
        self.headers = self.echo_headers = self.bulk_headers = None

    def host(self, port=None):
        return f"{self.name}{f'-{port}' if port else ''}.{self.gateway.domain}"

    def start_app(self, app):
        """Starts them in a terminal, which outlives the gateway when that is started again; all use the load's core."""
        self.public, self.private, self.echo, self.bulk = (free_port() for _ in range(4))
        config = UPSTREAM.format(at=self.directory, public=self.public, private=self.private)
        with open(f"{self.directory}/app.conf", "w") as file:
            file.write(config)
        with open(f"{self.directory}/large", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, 256 << 20)
        pinned = f"taskset -c {LOAD_CORE}"
        nginx = f"{program('nginx')} -c {self.directory}/app.conf"
        # The bulk app only sends bytes, and gives way to all others: a download that takes what is left of the core.
        script = f"{pinned} {app} {self.echo} & nice -n 19 {pinned} {app} {self.bulk} & exec {pinned} {nginx} > {self.directory}/app.out 2>&1"
        terminal = {"cols": 80, "rows": 24, "command": ["sh", "-c", script]}
        self.gateway.api("POST", f"/codespaces/{self.name}/terminals", terminal)
        for port in (self.public, self.private, self.echo, self.bulk):
            until(f"port {port} is listed", lambda port=port: self.lists(port), pause=0.2)
        self.gateway.command("ports", "visibility", f"{self.public}:public", "-c", self.name)

    def lists(self, port):
        ports = json.loads(self.gateway.command("ports", "-c", self.name, "--json"))
        return any(row["port"] == port and row["listening"] for row in ports)

    def sign_in(self):
        self.headers, self.echo_headers, self.bulk_headers = (self.signed_in(port) for port in (self.private, self.echo, self.bulk))

    def signed_in(self, port):
        """What a page of that port sends: its cookie and its origin."""
        origin = f"{self.gateway.scheme}://{self.host(port)}:{self.gateway.port}"
        return {"Cookie": self.gateway.visit(self.host(port)), "Origin": origin}
