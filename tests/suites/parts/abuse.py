"""Abuses a gateway over HTTP/2 in ways that others were abused in, one after the other, while another client goes on asking.

Each must end its connection (GOAWAY) within a second or cost nothing: no memory, and no waiting of the other client. An
abuser that is told to go, or is cut off, comes back at once, again and again. What the other client waits is compared with
what it waits beside clients that are honest, from the same program: one that asks for one thing after the other, and one
of the same volume, which has as much under way as it is let."""
import multiprocessing
import os
import select
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
# Most megabytes that memory may grow by, most times that others may wait longer; seconds of each abuse and of a connection.
GROWTH, LONGER, SECONDS, CUT = 10, 2, 4, 1
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
    """The gateway said GOAWAY, or closed the connection."""


class Over(Exception):
    """The time is over."""


class Abuser:
    """A connection whose frames are written by hand; what comes back is read in between, unless nobody reads."""

    def __init__(self, settings, reads, until):
        self.encoder, self.until, self.reads, self.data = Encoder(), until + 5, reads, b""
        self.goaway, self.resets, self.answers, self.frames = None, 0, 0, 0
        self.started = time.monotonic()
        self.stream = dial("h2")
        self.stream.setblocking(False)
        self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0, settings=settings or {}).serialize())
        self.until = until

    def read(self, wait=0):
        """Takes what came within so many seconds."""
        if wait:
            select.select([self.stream], [], [], wait)
        try:
            more = self.stream.recv(1 << 20)
        except ssl.SSLWantReadError:
            return
        except OSError:
            more = b""
        if not more:
            raise Ended
        data = self.data + more
        while len(data) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(data[:9]))
            if len(data) < 9 + length:
                break
            frame.parse_body(memoryview(data[9:9 + length]))
            data = data[9 + length:]
            self.frames += 1
            if isinstance(frame, GoAwayFrame):
                self.goaway = frame.error_code
                raise Ended
            self.resets += isinstance(frame, RstStreamFrame)
            self.answers += isinstance(frame, HeadersFrame)
        self.data = data

    def send(self, data):
        data = memoryview(data)
        while data:
            if time.monotonic() > self.until:
                raise Over
            if self.reads:
                self.read()
            try:
                data = data[self.stream.send(data):]
            except ssl.SSLWantWriteError:
                select.select([self.stream] if self.reads else [], [self.stream], [], 0.1)
            except OSError:
                self.read_rest()
                raise Ended from None

    def read_rest(self):
        """What the gateway said before it closed."""
        while self.reads:
            self.read(0.1)

    def frame(self, kind, stream, body=b"", flags=0):
        return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body

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
    """Heads of more fields than are taken, as fast as they can be sent: the same bytes each time, nothing indexed."""
    fields = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", "/api/v1/setup")]
    data = it.encoder.encode([(*field, True) for field in [*fields, *((f"x-{number}", "v") for number in range(700))]], huffman=False)
    for stream in range(1, 20_001, 2):
        it.send(HeadersFrame(stream, data=data, flags=["END_HEADERS", "END_STREAM"]).serialize())


def as_many_fields(it):
    """Heads of nearly as many fields as are read before anybody is asked about them."""
    fields = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", "/api/v1/setup")]
    data = it.encoder.encode([(*field, True) for field in [*fields, *((f"x-{number}", "v") for number in range(500))]], huffman=False)
    for stream in range(1, 20_001, 2):
        it.send(HeadersFrame(stream, data=data, flags=["END_HEADERS", "END_STREAM"]).serialize())


def indexed_fields(it):
    """One small field named again and again, a byte each, below the measure of a list: 31,000 are kept of each head."""
    head = b"\x82\x87\x84\x01" + bytes([len(host)]) + host.encode()
    for stream in range(1, 2001, 2):
        data = head + (b"\x40\x01a\x00" if stream == 1 else b"") + b"\xbe" * 31_000
        it.send(HeadersFrame(stream, data=data[:16_384], flags=["END_STREAM"]).serialize()
                + ContinuationFrame(stream, data=data[16_384:], flags=["END_HEADERS"]).serialize())


def few_indexed_fields(it):
    """The same, just not too many of them."""
    head = b"\x82\x87\x84\x01" + bytes([len(host)]) + host.encode()
    for stream in range(1, 20_001, 2):
        data = head + (b"\x40\x01a\x00" if stream == 1 else b"") + b"\xbe" * 500
        it.send(HeadersFrame(stream, data=data, flags=["END_HEADERS", "END_STREAM"]).serialize())


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
    frame = b"".join(PriorityFrame(2 * each + 1, depends_on=0, stream_weight=3).serialize() for each in range(50))
    for _ in range(20_000):
        it.send(frame)


def window_trickle(it):
    """Answers asked for that nobody lets come: a window of one byte, a hundred streams."""
    for stream in range(1, 20_001, 2):
        it.send(it.head(stream, path="/sign-in") + WindowUpdateFrame(stream, window_increment=1).serialize())


def reset_flood(it):
    """A stream that is long answered, reset again and again."""
    it.send(it.head(1))
    frame = RstStreamFrame(1, error_code=8).serialize() * 50
    for _ in range(20_000):
        it.send(frame)


def window_update_flood(it):
    frame = WindowUpdateFrame(0, window_increment=1).serialize() * 50
    for _ in range(20_000):
        it.send(frame)


def unknown_frames(it):
    frame = it.frame(0xbb, 0, b"grease") * 50
    for _ in range(20_000):
        it.send(frame)


def goaway_flood(it):
    frame = GoAwayFrame(0, last_stream_id=0, error_code=0).serialize() * 50
    for _ in range(20_000):
        it.send(frame)


def honest(it):
    """What the others are compared with: a client that asks for one thing after the other, and has room for the answers."""
    it.send(WindowUpdateFrame(0, window_increment=0x40000000).serialize())
    for stream in range(1, 2_000_001, 2):
        before = it.answers
        it.send(it.head(stream))
        while it.answers == before:
            it.read(1)


def busy(it):
    """The same of a client that has forty things under way, as a page of many parts does."""
    it.send(WindowUpdateFrame(0, window_increment=0x40000000).serialize())
    for asked, stream in enumerate(range(1, 2_000_001, 2)):
        it.send(it.head(stream))
        while asked - it.answers >= 40:
            it.read(1)


class Other:
    """Another client, in a process of its own: it asks on connections of HTTP/1.1, twenty times on each."""

    def __init__(self):
        self.told, there = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=self.run, args=(there,))
        self.process.start()

    @staticmethod
    def run(pipe):
        took, vain, stream = [], 0, None
        while not pipe.poll():
            started = time.monotonic()
            try:
                if stream is None or len(took) % 20 == 0:
                    stream = dial("http/1.1")
                    stream.settimeout(5)
                stream.sendall(f"GET /api/v1/setup HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                answer = b""
                while not answer.endswith(b"}"):
                    more = stream.recv(65536)
                    if not more:
                        raise OSError
                    answer += more
                ok = answer.startswith(b"HTTP/1.1 200 ")
            except OSError:
                ok, stream = False, None
            vain += not ok
            took.append((time.monotonic() - started) * 1000)
            time.sleep(0.008)
        pipe.send((took, vain))

    def stop(self):
        self.told.send(None)
        took, vain = self.told.recv()
        self.process.join()
        return took, vain


def connection(abuse, settings, reads, until):
    """One connection of the abuser, until it ends, all is sent, or the time is over; tells how it was."""
    it, cut = Abuser(settings, reads, until), None
    try:
        abuse(it)
        # All is sent; what there is to say about it may be under way.
        wait = time.monotonic() + 0.5
        while reads and time.monotonic() < wait:
            it.read(0.1)
    except Ended:
        cut = time.monotonic() - it.started
    except Over:
        pass
    it.stream.close()
    return it, cut


def percentile(took, part):
    return sorted(took)[min(len(took) - 1, int(len(took) * part))]


def run(abuse, settings=None, reads=True, usual=None):
    before, peak, on = memory(), [0.0], [True]

    def watch():
        while on[0]:
            peak[0] = max(peak[0], memory())
            time.sleep(0.01)

    watcher, other = threading.Thread(target=watch), Other()
    watcher.start()
    time.sleep(0.2)
    until, ends, open_longest, goaways, held = time.monotonic() + SECONDS, [], 0, set(), 0
    while time.monotonic() < until:
        it, cut = connection(abuse, settings, reads, until)
        goaways.add(it.goaway)
        if cut is not None:
            ends.append(cut)
        else:
            held += 1
            open_longest = max(open_longest, time.monotonic() - it.started)
    time.sleep(0.3)
    on[0] = False
    took, vain = other.stop()
    watcher.join()
    growth, p99 = peak[0] - before, percentile(took, 0.99)
    how = []
    if ends:
        how.append(f"{len(ends)} connections cut, after {statistics.median(ends):.2f} s, at most {max(ends):.2f} s")
    if held:
        how.append(f"{held} served as long as they came, at most {open_longest:.1f} s")
    said = ", ".join(str(int(code)) for code in sorted(goaways - {None}))
    wrong = []
    if vain or len(took) < 100:
        wrong.append(f"the other client: {vain} of {len(took)} in vain")
    if growth > GROWTH:
        wrong.append(f"memory grew by {growth:.0f} MB")
    if ends and max(ends) > CUT and usual:
        wrong.append("cut late")
    beside = ""
    if usual:
        beside = ", ".join(f"{p99 / by:.1f} times that beside {name}" for name, by in usual.items())
        if p99 > LONGER * max(usual.values()):
            wrong.append("the other client waits too long")
        beside = f" ({beside})"
    print(f"{abuse.__name__}: {'; '.join(how)}; GOAWAY {said or 'none'}; memory {before:.0f} -> at most {peak[0]:.0f} MB; another client: {len(took)} answers, "
          f"{vain} in vain, median {statistics.median(took):.1f} ms, p99 {p99:.1f} ms{beside}, at most {max(took):.1f} ms{' WRONG: ' + ', '.join(wrong) if wrong else ''}",
          flush=True)
    return p99, bool(wrong)


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


multiprocessing.set_start_method("fork")
assert greet()
# The middle one of three: a p99 of five hundred answers is that of five.
usual = {client.__name__: statistics.median(run(client)[0] for _ in range(3)) for client in (honest, busy)}
abuses = [rapid_reset, made_you_reset, half_closed_data, continuation_flood, empty_continuations, settings_flood, ping_flood, header_bomb, many_fields,
          as_many_fields, indexed_fields, few_indexed_fields,
          many_streams, empty_data, priority_flood, reset_flood, window_update_flood, unknown_frames, goaway_flood]
only = os.environ.get("ABUSES", "").split()
memory_before = memory()
wrong = [abuse.__name__ for abuse in abuses if (not only or abuse.__name__ in only) and run(abuse, usual=usual)[1]]
if not only and run(window_trickle, {4: 0}, usual=usual)[1]:
    wrong.append("window_trickle")
if not only and run(unread_ping_flood, reads=False, usual=usual)[1]:
    wrong.append("unread_ping_flood")
if not greet():
    wrong.append("afterwards")
print(f"\nmemory from {memory_before:.0f} to {memory():.0f} MB over all; wrong: {len(wrong)} {' '.join(wrong)}")
sys.exit(1 if wrong else 0)
