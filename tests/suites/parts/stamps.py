"""Both ends of the tenants suite: `stamps.py serve KEY PORT COUNT` is the apps of one codespace, and their clients are

    stamps.py ask GATEWAY-PORT COUNT CONNECTIONS TENANTS [tls|http2 AUTHORITY]    AUTHORITY is a file of certificates

An app answers a request with an HMAC of its own key and port over the request's target, in the body, a header and a cookie. A
client knows whose answer it must be, and goes from tenant to tenant with each request on the same few connections. Among the
good requests are those that leave something behind on a connection of the gateway to an app, if it lets them: see KINDS."""
import hashlib
import hmac
import json
import random
import re
import select
import socket
import ssl
import struct
import sys
import threading
import time
from collections import Counter

# What is asked, how often in a hundred, and whether an answer must come. The target ends with the kind, which tells the app.
KINDS = {
    "plain": (38, True),
    "head": (5, True),  # HEAD: an answer without the body that it tells of
    "204": (4, True),
    "304": (4, True),
    "hints": (3, True),  # the app says 103 first
    "post": (6, True),
    "chunked": (5, True),
    "continue": (5, True),  # the client waits for 100 before its body
    "pipeline": (6, True),  # three requests to three tenants in one write
    "closing": (6, True),  # the app closes after its answer, without a word: whoever is next on that connection meets it closed
    "surplus": (5, True),  # after its answer the app sends another one
    "deaf": (4, False),  # the app answers without reading the body, in which a request lies
    "early": (3, False),  # the app closes half way through its answer
    "aborted": (4, False),  # the client goes half way through the answer
    "cut": (2, False),  # the client goes half way through its body
}
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n" * 40


def stamp(key, port, mark):
    return hmac.new(f"{key}:{port}".encode(), mark, hashlib.sha256).hexdigest().encode()


class Reader:
    """Reads a connection of HTTP/1.1 to the end of what it is asked for."""

    def __init__(self, stream):
        self.stream, self.read = stream, b""

    def more(self):
        got = self.stream.recv(65536)
        if not got:
            raise EOFError
        self.read += got

    def until(self, end):
        while end not in self.read:
            self.more()
        text, self.read = self.read.split(end, 1)
        return text

    def exactly(self, count):
        while len(self.read) < count:
            self.more()
        text, self.read = self.read[:count], self.read[count:]
        return text

    def body(self, head):
        if b"transfer-encoding: chunked" in head.lower():
            body = b""
            while True:
                size = int(self.until(b"\r\n").split(b";")[0], 16)
                body += self.exactly(size + 2)[:-2]
                if size == 0:
                    return body
        length = re.search(rb"\r\ncontent-length: *(\d+)", head.lower())
        return self.exactly(int(length[1])) if length else b""


def serve(key, port):
    listener = socket.create_server(("127.0.0.1", port), backlog=500)

    def converse(stream):
        reader = Reader(stream)
        while True:
            head = reader.until(b"\r\n\r\n")
            method, mark, _ = head.split(b" ", 2)
            kind, made = mark.rsplit(b"/", 1)[-1].decode(), stamp(key, port, mark)
            if b"\r\nexpect: 100-continue" in head.lower():
                stream.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            if kind != "deaf":
                reader.body(head)
            fields = b"X-Stamp: %s\r\nSet-Cookie: s=%s\r\n" % (made, made)
            if kind in ("204", "304"):
                stream.sendall(b"HTTP/1.1 %s S\r\n%s\r\n" % (kind.encode(), fields))
                continue
            if kind == "hints":
                stream.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n")
            answer = b"HTTP/1.1 200 OK\r\n%sContent-Length: 64\r\n\r\n%s" % (fields, b"" if method == b"HEAD" else made)
            if kind in ("early", "aborted"):
                stream.sendall(answer[:-32])
                # Whoever asked goes now; an app that waits for ever would be another test.
                if kind == "early" or (select.select([stream], [], [], 0.2)[0] and not stream.recv(1)):
                    return
                stream.sendall(answer[-32:])
                continue
            stream.sendall(answer + (answer if kind == "surplus" else b""))
            if kind == "closing":
                return

    def guarded(stream):
        try:
            converse(stream)
        except (OSError, EOFError, ValueError):
            pass
        stream.close()

    while True:
        threading.Thread(target=guarded, args=(listener.accept()[0],), daemon=True).start()


class Client:
    """One connection to the gateway, opened again where it ended."""

    KINDS = KINDS

    def __init__(self, gateway, tenants, number, told, makers, trust=None):
        self.gateway, self.tenants, self.number, self.told, self.makers = gateway, tenants, number, told, makers
        self.trust = trust
        self.dice, self.stream, self.index = random.Random(number), None, 0

    def connect(self):
        if self.stream is None:
            self.stream = socket.create_connection(("127.0.0.1", self.gateway))
            self.stream.settimeout(60)
            if self.trust is not None:
                name = self.dice.choice(self.tenants)[0].split(":")[0]
                self.stream = self.trust.wrap_socket(self.stream, server_hostname=name)
            self.reader = Reader(self.stream)

    def leave(self, rudely=False):
        if self.stream is not None and rudely:
            self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self.stream is not None:
            self.stream.close()
        self.stream = None

    def request(self, kind, method=b"GET", fields=b""):
        host, token, key, port = self.dice.choice(self.tenants)
        self.index += 1
        mark = f"/{self.number}-{self.index}/{kind}".encode()
        head = b"%s %s HTTP/1.1\r\nHost: %s\r\nX-Portico-Token: %s\r\n%s\r\n" % (method, mark, host.encode(), token.encode(), fields)
        right = stamp(key, port, mark)
        self.makers[right] = host
        return head, right, (host, mark)

    def blame(self, of, status, stamps, text):
        """Another tenant's answer is what must never come, nor one of the same app to another request. Only an app that takes the
        body of a request for requests sends answers that nobody can tell from those to what was sent meanwhile."""
        makers = {self.makers.get(made) for made in stamps}
        of_app = stamps and makers <= {of[0], (of[0], "hidden")}
        told = self.told.foreign if not of_app else self.told.misplaced if of[0] in makers else self.told.hidden
        told.append((*of, status, text[:64]))

    def answer(self, method, right, of):
        """Reads an answer, and counts it."""
        while True:
            head = self.reader.until(b"\r\n\r\n")
            status = head.split(b" ", 2)[1]
            if not status.startswith(b"1"):
                break
        body = b"" if method == b"HEAD" or status in (b"204", b"304") else self.reader.body(head)
        self.judge(method, status, head, body, right, of)
        if b"connection: close" in head.lower().split(b"\r\n"):
            self.leave()
        return status

    def judge(self, method, status, head, body, right, of):
        """Counts an answer: own, foreign, or of the gateway itself."""
        lines = head.lower().split(b"\r\n")
        stamps = set(re.findall(rb"[0-9a-f]{64}", head + body))
        empty = method == b"HEAD" or status in (b"204", b"304")
        if status.startswith(b"5") and not stamps:
            self.told.refused[status.decode()] += 1
        elif stamps == {right} and b"x-stamp: " + right in lines and b"set-cookie: s=" + right in b"\n".join(lines) and (empty or body == right):
            self.told.own += 1
        else:
            self.blame(of, status, stamps - {right}, body)

    def ask(self, kind):
        """Asks once, in the way of its kind."""
        method = {"head": b"HEAD"}.get(kind, b"POST" if kind in ("post", "chunked", "continue", "deaf", "cut") else b"GET")
        body = HIDDEN if kind in ("deaf", "cut") else b"x" * self.dice.randrange(1, 5000)
        if kind == "pipeline":
            asked = [self.request("plain") for _ in range(3)]
            self.stream.sendall(b"".join(head for head, _, _ in asked))
            for _, right, of in asked:
                if self.stream is None:
                    raise EOFError
                self.answer(b"GET", right, of)
            return
        if method != b"POST":
            fields = sent = b""
        elif kind == "chunked":
            fields, sent = b"Transfer-Encoding: chunked\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        else:
            fields, sent = b"Content-Length: %d\r\n" % len(body), body
        if kind == "continue":
            fields += b"Expect: 100-continue\r\n"
        head, right, of = self.request(kind, method, fields)
        if kind == "continue":
            self.stream.sendall(head)
            # Its final answer may come instead; then it is read below.
            while b"\r\n\r\n" not in self.reader.read:
                self.reader.more()
            if not self.reader.read.startswith(b"HTTP/1.1 100"):
                self.answer(method, right, of)
                return self.leave()
            self.stream.sendall(sent)
        elif kind == "cut":
            self.stream.sendall(head + sent[: len(sent) // 2])
            return self.leave(rudely=self.dice.random() < 0.5)
        else:
            self.stream.sendall(head + sent)
        if kind == "aborted":
            begun = self.reader.until(b"\r\n\r\n")
            if set(re.findall(rb"[0-9a-f]{64}", begun)) - {right}:
                self.blame(of, b"aborted", set(re.findall(rb"[0-9a-f]{64}", begun)) - {right}, begun)
            return self.leave(rudely=self.dice.random() < 0.5)
        if kind == "early":
            return self.early(right, of)
        self.answer(method, right, of)
        if self.stream is not None and self.reader.read:
            self.blame(of, b"surplus", set(re.findall(rb"[0-9a-f]{64}", self.reader.read)), self.reader.read)
            self.leave()

    def early(self, right, of):
        """What comes before the end must be the beginning of one's own."""
        try:
            self.answer(b"GET", right, of)
        except EOFError:
            if not right.startswith(self.reader.read):
                self.told.foreign.append((*of, b"early", self.reader.read[:64]))
            raise

    def run(self, count):
        weights = [weight for weight, _ in self.KINDS.values()]
        while self.index < count:
            kind = self.dice.choices(list(self.KINDS), weights)[0]
            self.told.asked[kind] += 1
            try:
                self.connect()
                self.ask(kind)
            except (OSError, EOFError) as error:
                self.leave()
                if self.KINDS[kind][1]:
                    self.told.failed.append(f"{kind}: {error!r}")


class Told:
    """What a client counted."""

    def __init__(self):
        self.own, self.asked, self.refused = 0, Counter(), Counter()
        self.foreign, self.misplaced, self.hidden, self.failed = [], [], [], []


def ask(gateway, count, connections, tenants, how="http1", authority=None):
    """`tenants` is a list of (host, token, key, port)."""
    trust, client = None, Client
    if authority is not None:
        trust = ssl.create_default_context(cafile=authority)
    if how == "http2":
        from streams import Streams as client
        trust.set_alpn_protocols(["h2"])
    started, told = time.monotonic(), [Told() for _ in range(connections)]
    makers = {stamp(key, port, b"/hidden"): (host, "hidden") for host, _, key, port in tenants}
    clients = [client(gateway, tenants, number, told[number], makers, trust) for number in range(connections)]
    threads = [threading.Thread(target=client.run, args=(-(-count // connections),)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked, refused = sum((one.asked for one in told), Counter()), sum((one.refused for one in told), Counter())
    foreign, misplaced, hidden, failed = ([found for one in told for found in getattr(one, name)] for name in ("foreign", "misplaced", "hidden", "failed"))
    sent, whole = sum(client.index for client in clients), all(client.index >= count // connections for client in clients)
    print(f"{sent} requests of {len(tenants)} tenants on {connections} connections in {time.monotonic() - started:.0f} s: "
          f"{sum(one.own for one in told)} answers checked, {len(foreign)} foreign {foreign[:3] or ''}")
    print(f"answers of the right app to somebody else's request: {len(misplaced)} {misplaced[:3] or ''}; "
          f"to what lay in a body, which it took for requests: {len(hidden)}")
    print("asked: " + ", ".join(f"{kind} {asked[kind]}" for kind in client.KINDS))
    print("5xx of the gateway: " + (", ".join(f"{number} times {status}" for status, number in sorted(refused.items())) or "none"))
    print(f"no answer although one had to come: {len(failed)} {failed[:3] or ''}")
    return whole and not foreign and not misplaced and not failed and all(asked[kind] for kind in client.KINDS)


def main():
    if sys.argv[1] == "serve":
        for each in range(int(sys.argv[4])):
            threading.Thread(target=serve, args=(sys.argv[2], int(sys.argv[3]) + each)).start()
        return 0
    gateway, count, connections = (int(text) for text in sys.argv[2:5])
    return 0 if ask(gateway, count, connections, json.load(open(sys.argv[5], encoding="utf-8")), *sys.argv[6:]) else 1


if __name__ == "__main__":
    sys.exit(main())
