"""How requests go to the gateway: over plain connections, TLS and HTTP/2."""
import socket
import ssl


class Carrier:
    """Where a gateway is, and how it is spoken to: http1, tls or http2."""

    def __init__(self, over, port, authority=None):
        self.over, self.port, self.context = over, port, None
        if over != "http1":
            self.context = ssl.create_default_context(cafile=authority)
            self.context.set_alpn_protocols(["h2" if over == "http2" else "http/1.1"])

    def connect(self, host):
        stream = socket.create_connection(("127.0.0.1", self.port))
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context.wrap_socket(stream, server_hostname=host.decode().split(":")[0]) if self.context else stream

    def bytes(self, host, data, quiet):
        """Sends bytes, takes what comes until the other side closes or says nothing for so long."""
        answer = b""
        with self.connect(host) as stream:
            stream.settimeout(quiet)
            try:
                stream.sendall(data)
                while more := stream.recv(65536):
                    answer += more
            except OSError:
                pass
        return answer

    def frames(self, host, asked, quiet):
        """Sends requests as streams of one connection of HTTP/2, whatever their fields are; gives their statuses."""
        import hpack
        from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame
        encoder, decoder = hpack.Encoder(), hpack.Decoder()
        decoder.max_allowed_table_size = 65536
        statuses = {}
        with self.connect(host) as stream:
            stream.settimeout(quiet)
            if stream.selected_alpn_protocol() != "h2":
                raise SystemExit("the gateway does not speak HTTP/2")
            out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()
            for number, (method, target, fields, body) in enumerate(asked):
                pseudo = [(b":method", method), (b":scheme", b"https"), (b":authority", host), (b":path", target)]
                block = encoder.encode(pseudo + [field for field in fields if field[0] != b"host"], huffman=False)
                pieces = [block[at:at + 16000] for at in range(0, len(block), 16000)]
                head = HeadersFrame(2 * number + 1, pieces[0])
                if not body:
                    head.flags.add("END_STREAM")
                out += framed(head, pieces[1:])
                for at in range(0, len(body), 16000):
                    data = DataFrame(2 * number + 1, body[at:at + 16000])
                    if at + 16000 >= len(body):
                        data.flags.add("END_STREAM")
                    out += data.serialize()
            try:
                stream.sendall(out)
                read = b""
                while len(statuses) < len(asked):
                    while len(read) < 9:
                        read += more(stream)
                    frame, length = Frame.parse_frame_header(memoryview(read[:9]))
                    while len(read) < 9 + length:
                        read += more(stream)
                    frame.parse_body(memoryview(read[9:9 + length]))
                    read = read[9 + length:]
                    if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
                        stream.sendall(SettingsFrame(0, flags={"ACK"}).serialize())
                    elif isinstance(frame, RstStreamFrame):
                        statuses.setdefault(frame.stream_id, f"reset {frame.error_code}")
                    elif isinstance(frame, GoAwayFrame) and frame.error_code:
                        break
                    elif isinstance(frame, HeadersFrame):
                        status = dict(decoder.decode(frame.data, raw=True)).get(b":status", b"").decode()
                        if not status.startswith("1"):
                            statuses[frame.stream_id] = status
            except OSError:
                pass
        return " ".join(statuses[each] for each in sorted(statuses)) or "no answer"


def framed(head, rest):
    from hyperframe.frame import ContinuationFrame
    if not rest:
        head.flags.add("END_HEADERS")
        return head.serialize()
    frames = [head, *(ContinuationFrame(head.stream_id, piece) for piece in rest)]
    frames[-1].flags.add("END_HEADERS")
    return b"".join(frame.serialize() for frame in frames)


def more(stream):
    found = stream.recv(65536)
    if not found:
        raise ConnectionResetError
    return found
