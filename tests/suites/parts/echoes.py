"""Both ends of the sign-ins suite: `echoes.py serve PORT` is an app whose sockets echo, `echoes.py measure …` asks it how long an
echo takes, before and during a flood of sign-ins from as many addresses as there are attempts."""
import base64
import hashlib
import json
import multiprocessing
import os
import socket
import sys
import threading
import time


def head_of(stream):
    read = b""
    while b"\r\n\r\n" not in read:
        more = stream.recv(4096)
        if not more:
            raise OSError("closed")
        read += more
    return read.split(b"\r\n\r\n", 1)


def serve(port):
    def converse(stream):
        try:
            head, _ = head_of(stream)
            key = next((line.split(b":")[1].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")), None)
            if key is None:
                return stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            stream.sendall(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
            while data := stream.recv(4096):
                stream.sendall(data)
        except OSError:
            pass
        finally:
            stream.close()

    listener = socket.create_server(("127.0.0.1", port), backlog=100)
    while True:
        threading.Thread(target=converse, args=(listener.accept()[0],), daemon=True).start()


def echoes(gateway, app, token, seconds):
    stream = socket.create_connection(("127.0.0.1", gateway))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    stream.sendall((f"GET / HTTP/1.1\r\nHost: {app}\r\nX-Portico-Token: {token}\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
                    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
    head, _ = head_of(stream)
    assert head.startswith(b"HTTP/1.1 101"), head
    took, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        sent, left = time.monotonic(), 64
        stream.sendall(b"x" * 64)
        while left:
            left -= len(stream.recv(left))
        took.append((time.monotonic() - sent) * 1000)
        time.sleep(0.01)
    took.sort()
    return took


def flood(gateway, host, number, until, statuses):
    attempt = 0
    while time.monotonic() < until:
        attempt += 1
        body = json.dumps({"name": f"nobody-{number}-{attempt}", "password": "a wrong password"}).encode()
        address = f"10.{number}.{attempt // 250}.{attempt % 250}"
        with socket.create_connection(("127.0.0.1", gateway)) as stream:
            stream.sendall((f"POST /api/v1/sign-in HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {address}\r\nContent-Type: application/json\r\n"
                            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body)
            status = stream.recv(4096)[9:12].decode()
        statuses[status] = statuses.get(status, 0) + 1


def flood_of_many(gateway, host, until, answers):
    """A process of its own, or its threads and the echoes would wait for one another; and one that yields, since on another
    machine it would cost this one nothing."""
    os.nice(19)
    statuses = {}
    threads = [threading.Thread(target=flood, args=(gateway, host, number, until, statuses)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.put(statuses)


def measure(gateway, host, app, token):
    def told(took):
        return f"{len(took)} echoes, median {took[len(took) // 2]:.2f} ms, p99 {took[int(len(took) * 0.99)]:.2f} ms, at most {took[-1]:.1f} ms"

    before = echoes(gateway, app, token, 8)
    print("before:", told(before))
    # As long as a sign-in of the first two hundred is still worked out; later ones are refused without work.
    until, answers = time.monotonic() + 6, multiprocessing.Queue()
    flooding = multiprocessing.Process(target=flood_of_many, args=(gateway, host, until, answers))
    flooding.start()
    during = echoes(gateway, app, token, 6)
    statuses = answers.get()
    flooding.join()
    print("during:", told(during))
    print("sign-ins:", ", ".join(f"{count} times {status}" for status, count in sorted(statuses.items())))
    ratio = during[int(len(during) * 0.99)] / before[int(len(before) * 0.99)]
    print(f"p99 during the flood: {ratio:.1f} times the one before (RATE-3 wants at most 2)")


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    measure(int(sys.argv[2]), *sys.argv[3:6])
