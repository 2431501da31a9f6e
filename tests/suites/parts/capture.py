"""Sends requests to ports of a codespace and keeps what arrives there. Run inside of it, since it is its own app.

    capture.py OUTPUT http1|tls|http2 GATEWAY-PORT AUTHORITY|- NAME-{}.DOMAIN:PORT FIRST-APP-PORT SEED MUTATIONS [CORPUS=FOLDER…]

OUTPUT gets a line of JSON for each request: what was sent, what should be made of it if that is known, what came back
and what arrived, byte by byte, of each connection."""
import json
import os
import queue
import re
import socket
import sys
import threading
import time
import traceback

sys.dont_write_bytecode = True
from carriers import Carrier
from framing import Malformed, request
from vectors import all_of, over_http2

output, over, gateway, authority, hosts, first, seed, count, *corpora = sys.argv[1:]
# Each lane is a port of its own with one request at a time, so that nothing is taken for what another sent.
LANES = 12
# How long a connection that stays open may say nothing, and how long bytes may still be under way.
QUIET, UNDER_WAY = 1.5, 3
OF_ONE_HOP = {b"connection", b"transfer-encoding", b"keep-alive", b"proxy-connection", b"upgrade", b"http2-settings", b"te"}


class App:
    """Answers each well-formed request with 200 and keeps every byte."""

    def __init__(self, port):
        self.connections, self.lock = [], threading.Condition()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            stream, _ = self.listener.accept()
            connection = {"kept": b"", "between": True}
            with self.lock:
                self.connections.append(connection)
            threading.Thread(target=self.converse, args=(stream, connection), daemon=True).start()

    def converse(self, stream, connection):
        read = b""
        try:
            while True:
                try:
                    found = request(read)
                except Malformed:
                    break
                if found is None:
                    with self.lock:
                        connection["between"] = not read
                        self.lock.notify_all()
                    more = stream.recv(65536)
                    if not more:
                        break
                    read += more
                    with self.lock:
                        connection["kept"] += more
                        connection["between"] = False
                    continue
                _, read = found
                stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n")
        except OSError:
            pass
        stream.close()
        with self.lock:
            connection["between"] = True
            self.lock.notify_all()

    def take(self):
        """What came since it was last taken, once nothing is half said."""
        with self.lock:
            self.lock.wait_for(lambda: all(each["between"] for each in self.connections), UNDER_WAY)
            kept = [each["kept"] for each in self.connections if each["kept"]]
            for each in self.connections:
                each["kept"] = b""
            return kept


def ways(sent, wanted):
    """How a request goes over HTTP/2: as it is, and without what belongs to one hop of HTTP/1.1."""
    asked = over_http2(sent, wanted)
    if asked:
        yield "as it is", asked
        plain = [(method, target, [field for field in fields if field[0] not in OF_ONE_HOP], body) for method, target, fields, body in asked]
        if plain != asked:
            yield "without one hop's", plain


def send(carrier, app, host, name, sent, wanted, keep):
    def out(*what):
        keep(host, *what)

    if over != "http2":
        answer = carrier.bytes(host, sent, QUIET)
        statuses = " ".join(each.decode() for each in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)) or "no answer"
        return out(name, sent, wanted, statuses, app.take())
    for way, asked in ways(sent, wanted):
        statuses = carrier.frames(host, asked, QUIET)
        meant = [(method, target, body) for method, target, _, body in asked]
        out(f"{name}, {way}", b"\n".join(repr(each).encode() for each in asked), meant, statuses, app.take())


def main():
    waiting, lock, carrier = queue.Queue(), threading.Lock(), Carrier(over, int(gateway), authority)
    # A lane that broke makes all that was kept worthless.
    threading.excepthook = lambda broken: (traceback.print_exception(broken.exc_value), os._exit(1))
    token = b"HOST.example"
    vectors = list(all_of(dict(each.split("=", 1) for each in corpora), int(seed), int(count), token))
    for vector in vectors:
        waiting.put(vector)
    with open(output, "w") as kept:
        def keep(host, name, sent, wanted, answer, arrived):
            line = {"name": name, "over": over, "sent": sent.hex(), "answer": answer, "arrived": [each.hex() for each in arrived], "host": host.decode(),
                    "wanted": None if wanted is None else [[each.hex() for each in one] for one in wanted]}
            with lock:
                print(json.dumps(line), file=kept)

        def lane(number):
            port = int(first) + number
            app, host = App(port), hosts.replace("{}", str(port)).encode()
            for _ in range(300):
                if answers(carrier, host):
                    break
                time.sleep(0.1)
            else:
                raise SystemExit(f"port {port} does not answer")
            app.take()
            while True:
                try:
                    name, sent, wanted = waiting.get_nowait()
                except queue.Empty:
                    return
                send(carrier, app, host, name, sent.replace(token, host), wanted, keep)

        lanes = [threading.Thread(target=lane, args=(number,)) for number in range(LANES)]
        for each in lanes:
            each.start()
        for each in lanes:
            each.join()
    print(f"{len(vectors)} requests over {over}")


def answers(carrier, host):
    if over == "http2":
        return carrier.frames(host, [(b"GET", b"/", [], b"")], QUIET) == "200"
    ready = b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % host
    return b" 200 " in carrier.bytes(host, ready, QUIET).split(b"\r\n")[0]


main()
