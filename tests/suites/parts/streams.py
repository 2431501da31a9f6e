"""A client of the tenants suite over HTTP/2: streams of several tenants at once on one connection, some of which it resets."""
import re

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import StreamClosedError

from stamps import HIDDEN, KINDS, Client, stamp

AT_ONCE = 8
PIECE = 700


class Stream:
    """One request, and what came of it so far."""

    def __init__(self, kind, method, right, of, body):
        self.kind, self.method, self.right, self.of, self.left = kind, method, right, of, body
        self.status, self.head, self.body, self.over = None, b"", b"", False


class Streams(Client):
    """As a client of HTTP/1.1, but what is asked is a handful of streams, of which the kind that is drawn is the first."""

    # HTTP/2 has no pipelines, and a client of it waits for no 100.
    KINDS = {kind: weight for kind, weight in KINDS.items() if kind not in ("continue", "pipeline")}

    def connect(self):
        if self.stream is None:
            super().connect()
            assert self.stream.selected_alpn_protocol() == "h2"
            self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
            self.h2.initiate_connection()
            self.open = {}

    def flush(self):
        self.stream.sendall(self.h2.data_to_send())

    def begin(self, kind):
        host, token, key, port = self.dice.choice(self.tenants)
        self.index += 1
        mark = f"/{self.number}-{self.index}/{kind}".encode()
        method = {"head": b"HEAD"}.get(kind, b"POST" if kind in ("post", "chunked", "deaf", "cut") else b"GET")
        body = b"" if method != b"POST" else HIDDEN if kind in ("deaf", "cut") else b"x" * self.dice.randrange(1, 5000)
        right = stamp(key, port, mark)
        self.makers[right] = host
        fields = [(b":method", method), (b":scheme", b"https"), (b":authority", host.encode()), (b":path", mark),
                  (b"x-portico-token", token.encode())]
        if body and kind != "chunked":
            fields.append((b"content-length", b"%d" % len(body)))
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, fields, end_stream=not body)
        self.open[number] = Stream(kind, method, right, (host, mark), body)

    def ask(self, kind):
        others = self.dice.choices(list(self.KINDS), [weight for weight, _ in self.KINDS.values()], k=self.dice.randrange(AT_ONCE))
        self.told.asked.update(others)
        for each in [kind, *others]:
            self.begin(each)
        self.flush()
        # A piece of each body in turn.
        while sending := [number for number, one in self.open.items() if one.left]:
            for number in sending:
                self.send(number, self.open[number])
            self.flush()
        try:
            while self.open:
                self.hear()
        except (OSError, EOFError):
            missing = [one.kind for one in self.open.values() if self.KINDS[one.kind][1]]
            self.leave()
            if missing:
                self.told.failed.append(f"over: {missing}")

    def send(self, number, one):
        """Sends a piece, or, half way through a body that is cut, goes."""
        if one.kind == "cut" and len(one.left) <= len(HIDDEN) // 2:
            self.h2.reset_stream(number, ErrorCodes.CANCEL)
            del self.open[number]
            return
        piece, one.left = one.left[:PIECE], one.left[PIECE:]
        self.h2.send_data(number, piece, end_stream=not one.left)

    def hear(self):
        data = self.stream.recv(65536)
        if not data:
            raise EOFError
        for event in self.h2.receive_data(data):
            if isinstance(event, ConnectionTerminated):
                raise EOFError
            if isinstance(event, DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            one = self.open.get(getattr(event, "stream_id", None))
            if one is None:
                continue
            if isinstance(event, ResponseReceived):
                one.status = dict(event.headers)[b":status"]
                one.head = b"\r\n".join(name + b": " + value for name, value in event.headers)
                if one.kind == "aborted":
                    self.abort(event.stream_id, one)
            elif isinstance(event, DataReceived):
                one.body += event.data
            elif isinstance(event, StreamEnded):
                del self.open[event.stream_id]
                self.judge(one.method, one.status, one.head, one.body, one.right, one.of)
            elif isinstance(event, StreamReset):
                del self.open[event.stream_id]
                self.broken(one)
        self.flush()

    def abort(self, number, one):
        """Goes half way through the answer."""
        foreign = set(re.findall(rb"[0-9a-f]{64}", one.head)) - {one.right}
        if foreign:
            self.blame(one.of, b"aborted", foreign, one.head)
        del self.open[number]
        try:
            self.h2.reset_stream(number, ErrorCodes.CANCEL)
        except StreamClosedError:
            pass  # the rest of it came at the same time

    def broken(self, one):
        """What came before the end must be the beginning of one's own."""
        if not one.right.startswith(one.body):
            self.told.foreign.append((*one.of, b"early", one.body[:64]))
        if self.KINDS[one.kind][1]:
            self.told.failed.append(f"{one.kind}: reset")
