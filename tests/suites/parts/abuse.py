"""Abuses a gateway over HTTP/2 in ways that others were abused in, one after the other, while another client goes on asking.

Each must end in a closed connection (GOAWAY) or cost next to nothing: memory, descriptors, and the other client's waiting."""
import socket
import ssl
import statistics
import sys
import threading
import time

from h2.connection import H2Connection
from hpack import Encoder
from hyperframe.frame import (ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, PriorityFrame, RstStreamFrame,
                              SettingsFrame, WindowUpdateFrame)

port, host, certificate, gateway = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
GROWTH, SECONDS = 30, 8
contexts = {protocol: ssl.create_default_context(cafile=certificate) for protocol in ("h2", "http/1.1")}
for protocol, context in contexts.items():
    context.set_alpn_protocols([protocol])


def memory():
    with open(f"/proc/{gateway}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def dial(protocol):
    stream = contexts[protocol].wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname=host.split(":")[0])
    assert stream.selected_alpn_protocol() == protocol
    return stream


class Ended(Exception):
    pass


class Abuser:
    """A connection whose frames are written by hand; what comes back is read and judged by another thread."""

    def __init__(self, settings=None, reads=True):
        self.stream = dial("h2")
        self.encoder = Encoder()
        self.goaway, self.closed, self.resets, self.answers, self.frames = None, None, 0, 0, 0
        self.started = time.monotonic()
        self.stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0, settings=settings or {}).serialize())
        if reads:
            threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        data = b""
        try:
            while more := self.stream.recv(65536):
                data += more
                while len(data) >= 9:
                    frame, length = Frame.parse_frame_header(memoryview(data[:9]))
                    if len(data) < 9 + length:
                        break
                    frame.parse_body(memoryview(data[9:9 + length]))
                    data = data[9 + length:]
                    self.frames += 1
                    if isinstance(frame, GoAwayFrame):
                        self.goaway = frame.error_code
                    self.resets += isinstance(frame, RstStreamFrame)
                    self.answers += isinstance(frame, HeadersFrame)
        except OSError:
            pass
        self.closed = time.monotonic() - self.started

    def send(self, data):
        if self.closed is not None:
            raise Ended
        try:
            self.stream.sendall(data)
        except OSError:
            raise Ended from None

    def head(self, stream, more=(), end=True, path="/api/v1/setup", method="GET"):
        fields = [(":method", method), (":scheme", "https"), (":authority", host), (":path", path), *more]
        return HeadersFrame(stream, data=self.encoder.encode(fields), flags=["END_HEADERS"] + (["END_STREAM"] if end else [])).serialize()


def rapid_reset(it):
    for stream in range(1, 200_001, 2):
        it.send(it.head(stream) + RstStreamFrame(stream, error_code=8).serialize())


def made_you_reset(it):
    """The gateway is brought to reset streams itself: a window that nothing may add to."""
    for stream in range(1, 60_001, 2):
        it.send(it.head(stream) + WindowUpdateFrame(stream, window_increment=0x7FFFFFFF).serialize())


def half_closed_data(it):
    for stream in range(1, 60_001, 2):
        it.send(it.head(stream) + DataFrame(stream, data=b"x").serialize())


def continuation_flood(it):
    it.send(HeadersFrame(1, data=it.encoder.encode([(":method", "GET")]), flags=["END_STREAM"]).serialize())
    for number in range(100_000):
        it.send(ContinuationFrame(1, data=Encoder().encode([(f"x-{number}", "y" * 4000)], huffman=False)).serialize())


def empty_continuations(it):
    it.send(HeadersFrame(1, data=it.encoder.encode([(":method", "GET")]), flags=["END_STREAM"]).serialize())
    for _ in range(300_000):
        it.send(ContinuationFrame(1, data=b"").serialize())


def settings_flood(it):
    frame = SettingsFrame(0, settings={4: 65535}).serialize() * 50
    for _ in range(20_000):
        it.send(frame)


def ping_flood(it):
    frame = PingFrame(0, opaque_data=b"abuseabu").serialize() * 50
    for _ in range(20_000):
        it.send(frame)


def unread_ping_flood(it):
    """The answers are never read: what is queued for us must not grow without end."""
    ping_flood(it)


def header_bomb(it):
    """One large field in the dynamic table, then named thousands of times: few bytes sent, gigabytes decoded."""
    it.encoder.header_table_size = 4096
    for stream in range(1, 2001, 2):
        fields = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", "/api/v1/setup")]
        data = it.encoder.encode([*fields, ("x-bomb", "b" * 3900)]) + b"\xbe" * 12_000
        it.send(HeadersFrame(stream, data=data, flags=["END_HEADERS", "END_STREAM"]).serialize())


def many_fields(it):
    for stream in range(1, 2001, 2):
        it.send(it.head(stream, [(f"x-{number}", "v") for number in range(700)]))


def many_streams(it):
    """Opened and left open, far more than are allowed at once."""
    for stream in range(1, 40_001, 2):
        it.send(it.head(stream, end=False, method="POST", path="/api/v1/sign-in"))


def empty_data(it):
    it.send(it.head(1, end=False, method="POST", path="/api/v1/sign-in"))
    frame = DataFrame(1, data=b"").serialize() * 50
    for _ in range(20_000):
        it.send(frame)


def priority_flood(it):
    for number in range(20_000):
        it.send(b"".join(PriorityFrame(2 * (number * 50 + each) + 1, depends_on=0, stream_weight=3).serialize() for each in range(50)))


def window_trickle(it):
    """Answers asked for that nobody lets come: a window of one byte, a hundred streams."""
    for stream in range(1, 20_001, 2):
        it.send(it.head(stream, path="/sign-in") + WindowUpdateFrame(stream, window_increment=1).serialize())


class Other:
    """Another client, on HTTP/1.1 connections of its own."""

    def __init__(self):
        self.took, self.vain, self.on = [], 0, True
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while self.on:
            started = time.monotonic()
            try:
                with dial("http/1.1") as stream:
                    stream.settimeout(5)
                    stream.sendall(f"GET /api/v1/setup HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                    ok = stream.recv(65536).startswith(b"HTTP/1.1 200 ")
            except OSError:
                ok = False
            self.vain += not ok
            self.took.append((time.monotonic() - started) * 1000)
            time.sleep(0.05)


def run(abuse, settings=None, reads=True):
    before, other, peak = memory(), Other(), [0.0]
    it = Abuser(settings, reads)
    ended = threading.Event()

    def go():
        try:
            abuse(it)
        except Ended:
            pass
        ended.set()

    threading.Thread(target=go, daemon=True).start()
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and not (it.closed is not None or ended.is_set() and time.monotonic() > until - SECONDS + 3):
        peak[0] = max(peak[0], memory())
        time.sleep(0.02)
    sent_all = ended.is_set() and it.closed is None
    closed, goaway = it.closed, it.goaway
    time.sleep(0.3)
    peak[0] = max(peak[0], memory())
    it.stream.close()
    other.on = False
    other.thread.join()
    how = f"closed after {closed:.2f} s" if closed is not None else "served to its end" if sent_all else f"still bounded after {SECONDS} s"
    if goaway is not None:
        how += f", GOAWAY {goaway}"
    growth, p50, longest = peak[0] - before, statistics.median(other.took), max(other.took)
    wrong = []
    if other.vain or len(other.took) < 3:
        wrong.append(f"the other client: {other.vain} of {len(other.took)} in vain")
    if growth > GROWTH:
        wrong.append(f"memory grew by {growth:.0f} MB")
    print(f"{abuse.__name__}: {how}; {it.answers} answers, {it.resets} resets; memory {before:.0f} -> at most {peak[0]:.0f} MB; another client: "
          f"{len(other.took)} answers, {other.vain} in vain, median {p50:.0f} ms, at most {longest:.0f} ms{' WRONG: ' + ', '.join(wrong) if wrong else ''}",
          flush=True)
    return bool(wrong)


def greet():
    """An honest client of the same library is answered: the abuse is refused for what it is."""
    stream, connection = dial("h2"), H2Connection()
    connection.initiate_connection()
    connection.send_headers(1, [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", "/api/v1/setup")], end_stream=True)
    stream.sendall(connection.data_to_send())
    stream.settimeout(5)
    while True:
        for event in connection.receive_data(stream.recv(65536)):
            if type(event).__name__ == "ResponseReceived":
                return dict(event.headers)[b":status"] == b"200"


assert greet()
run_all = [rapid_reset, made_you_reset, half_closed_data, continuation_flood, empty_continuations, settings_flood, ping_flood, header_bomb,
           many_fields, many_streams, empty_data, priority_flood]
memory_before = memory()
wrong = [abuse.__name__ for abuse in run_all if run(abuse)]
if run(window_trickle, {4: 0}):
    wrong.append("window_trickle")
if run(unread_ping_flood, reads=False):
    wrong.append("unread_ping_flood")
if not greet():
    wrong.append("afterwards")
print(f"\nmemory from {memory_before:.0f} to {memory():.0f} MB over all; wrong: {len(wrong)} {' '.join(wrong)}")
sys.exit(1 if wrong else 0)
