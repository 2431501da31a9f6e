"""The parts of the sign-ins suite: `echoes.py serve PORT` is an app whose sockets echo; `echoes.py measure …` asks it how long an
echo takes, before and during a flood of sign-ins from as many addresses as there are attempts, through the gateway and, to tell
what the machine itself costs, past it; `echoes.py tell FILE…` puts the rounds together."""
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


def opened(gateway, app, token):
    stream = socket.create_connection(("127.0.0.1", gateway))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    stream.sendall((f"GET / HTTP/1.1\r\nHost: {app}\r\nX-Portico-Token: {token}\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
                    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
    head, _ = head_of(stream)
    assert head.startswith(b"HTTP/1.1 101"), head
    return stream


def echoes(streams, seconds):
    """How long each echo of each socket took, in milliseconds; they are asked in turn."""
    took, until = {path: [] for path in streams}, time.monotonic() + seconds
    while time.monotonic() < until:
        for path, stream in streams.items():
            sent, left = time.monotonic(), 64
            stream.sendall(b"x" * 64)
            while left:
                left -= len(stream.recv(left))
            took[path].append((time.monotonic() - sent) * 1000)
            time.sleep(0.003)
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
    """A process of its own, or its threads and the echoes would wait for one another; and one that yields to all others at once,
    since on another machine it would cost this one nothing."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    statuses = {}
    threads = [threading.Thread(target=flood, args=(gateway, host, number, until, statuses)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.put(statuses)


def measure(gateway, host, app, token, port):
    streams = {"through": opened(gateway, app, token), "past": opened(int(port), app, token)}
    # What begins with a codespace is over after this.
    echoes(streams, 4)
    before = echoes(streams, 5)
    # As long as the sign-ins that are worked out last; later ones are refused without work.
    until, answers = time.monotonic() + 5, multiprocessing.Queue()
    flooding = multiprocessing.Process(target=flood_of_many, args=(gateway, host, until, answers))
    flooding.start()
    during = echoes(streams, 5)
    statuses = answers.get()
    flooding.join()
    print(json.dumps({"before": before, "during": during, "statuses": statuses}))


def tell(files):
    rounds = [json.load(open(file)) for file in files]
    p99 = {}
    for path in ("through", "past"):
        for when in ("before", "during"):
            took = sorted(echo for one in rounds for echo in one[when][path])
            p99[path, when] = took[int(len(took) * 0.99)]
            print(f"{path} the gateway, {when}: {len(took)} echoes, median {took[len(took) // 2]:.2f} ms, p99 {p99[path, when]:.2f} ms")
    for status in sorted({status for one in rounds for status in one["statuses"]}):
        print(f"sign-ins answered {status}: {sum(one['statuses'].get(status, 0) for one in rounds)}")
    for path in ("through", "past"):
        ratio = p99[path, "during"] / p99[path, "before"]
        print(f"p99 {path} the gateway during the flood: {ratio:.1f} times the one before")
    print("RATE-3 wants at most 2 through the gateway")


match sys.argv[1]:
    case "serve":
        serve(int(sys.argv[2]))
    case "measure":
        measure(int(sys.argv[2]), *sys.argv[3:7])
    case "tell":
        tell(sys.argv[2:])
