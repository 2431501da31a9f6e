"""Both ends of the tenants suite: `stamps.py serve KEY PORT COUNT` is the apps of one codespace, `stamps.py ask …` their clients.

An app answers a request with an HMAC of its own key and port over the request's mark, in the body, a header and a cookie. A
client knows whose answer it must be, and goes from tenant to tenant with each request on the same few connections."""
import hashlib
import hmac
import json
import random
import socket
import sys
import threading
import time


def stamp(key, port, mark):
    return hmac.new(f"{key}:{port}".encode(), mark, hashlib.sha256).hexdigest()


def serve(key, port):
    listener = socket.create_server(("127.0.0.1", port), backlog=500)

    def converse(stream):
        read = b""
        while True:
            while b"\r\n\r\n" not in read:
                more = stream.recv(65536)
                if not more:
                    return
                read += more
            head, read = read.split(b"\r\n\r\n", 1)
            made = stamp(key, port, head.split(b" ", 2)[1])
            stream.sendall(f"HTTP/1.1 200 OK\r\nX-Stamp: {made}\r\nSet-Cookie: s={made}\r\nContent-Length: 64\r\n\r\n{made}".encode())

    def guarded(stream):
        try:
            converse(stream)
        except OSError:
            pass

    while True:
        threading.Thread(target=guarded, args=(listener.accept()[0],), daemon=True).start()


def ask(gateway, count, connections, tenants):
    """`tenants` is a list of (host, token, key, port)."""
    asked, foreign, failed, lock = [0], [], [], threading.Lock()

    def client(number):
        dice, stream, read = random.Random(number), None, b""
        for index in range(count // connections):
            host, token, key, port = dice.choice(tenants)
            mark = f"/{number}-{index}"
            try:
                if stream is None:
                    stream, read = socket.create_connection(("127.0.0.1", gateway)), b""
                    stream.settimeout(30)
                stream.sendall(f"GET {mark} HTTP/1.1\r\nHost: {host}\r\nX-Portico-Token: {token}\r\n\r\n".encode())
                while b"\r\n\r\n" not in read or len(read.split(b"\r\n\r\n", 1)[1]) < 64:
                    more = stream.recv(65536)
                    if not more:
                        raise OSError("closed")
                    read += more
                    if not read.startswith(b"HTTP/1.1 200"):
                        raise OSError(read[:80])
            except OSError as error:
                stream = None
                with lock:
                    failed.append(str(error))
                continue
            head, body = read.split(b"\r\n\r\n", 1)
            read, right = body[64:], stamp(key, port, mark.encode()).encode()
            lines = head.lower().split(b"\r\n")
            own = body[:64] == right and b"x-stamp: " + right in lines and sum(line.startswith(b"set-cookie: s=" + right) for line in lines) == 1
            with lock:
                asked[0] += 1
                if not own or read:
                    foreign.append((host, mark, body[:64]))

    started = time.monotonic()
    threads = [threading.Thread(target=client, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{asked[0]} answers of {len(tenants)} tenants on {connections} connections checked in {time.monotonic() - started:.0f} s, {len(foreign)} foreign, "
          f"{len(failed)} without an answer {failed[:3] or ''}")
    return not foreign and not failed


if sys.argv[1] == "serve":
    for each in range(int(sys.argv[4])):
        threading.Thread(target=serve, args=(sys.argv[2], int(sys.argv[3]) + each)).start()
else:
    gateway, count, connections = (int(text) for text in sys.argv[2:5])
    sys.exit(0 if ask(gateway, count, connections, json.load(open(sys.argv[5], encoding="utf-8"))) else 1)
