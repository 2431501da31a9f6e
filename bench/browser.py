"""Requests to the gateway, and signing in as a browser does: redirects followed, forms posted, cookies kept by host."""

import html
import http.client
import re
import socket
import ssl
import urllib.parse


class Browser:
    """Speaks to one port of this machine, whatever the host."""

    def __init__(self, port, ca=None):
        self.port, self.ca, self.cookies = port, ca, {}
        self.scheme = "https" if ca else "http"

    def ask(self, host, method, target, headers=None, body=None):
        """One exchange on a connection of its own: status, headers, text."""
        plain = socket.create_connection(("127.0.0.1", self.port), 10)
        connection = http.client.HTTPConnection(host, self.port, timeout=10)
        connection.sock = ssl.create_default_context(cafile=self.ca).wrap_socket(plain, server_hostname=host) if self.ca else plain
        try:
            connection.request(method, target, body=body, headers={"Host": f"{host}:{self.port}", "Connection": "close", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def browse(self, url, method="GET", headers=None, body=None):
        """One exchange with the cookies of its host."""
        parts = urllib.parse.urlsplit(url)
        headers = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", **(headers or {})}
        if self.cookies.get(parts.hostname):
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies[parts.hostname].items())
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        status, answered, text = self.ask(parts.hostname, method, target or "/", headers, body)
        for line in answered.get_all("Set-Cookie") or []:
            name, value = line.split(";")[0].split("=", 1)
            self.cookies.setdefault(parts.hostname, {})[name] = value
            if not value:
                del self.cookies[parts.hostname][name]
        return status, answered, text

    def cookie_of(self, host):
        return "; ".join(f"{name}={value}" for name, value in self.cookies.get(host, {}).items() if "nonce" not in name)

    def visit(self, host):
        """Goes the whole hop from a host's page and back; returns the cookie of that host."""
        url, method, body, headers = f"{self.scheme}://{host}:{self.port}/", "GET", None, {}
        for _ in range(20):
            status, answered, text = self.browse(url, method, headers, body)
            form = re.search(r'<form method="post" action="([^"]*)">\s*<input type="hidden" name="ticket" value="([^"]*)"', text)
            here, method, body, headers = url, "GET", None, {}
            if status in (302, 303) and answered.get("Location"):
                url = urllib.parse.urljoin(here, answered["Location"])
            elif status == 200 and form:
                url = urllib.parse.urljoin(here, html.unescape(form[1]))
                method, body = "POST", urllib.parse.urlencode({"ticket": html.unescape(form[2])})
                origin = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(here))
                headers = {"Origin": origin, "Content-Type": "application/x-www-form-urlencoded"}
            elif status == 200 or self.cookie_of(host):
                return self.cookie_of(host)
            else:
                raise RuntimeError(f"the sign-in hop stopped at {here}: {status}\n{text[:500]}")
        raise RuntimeError("the sign-in hop goes round in circles")
