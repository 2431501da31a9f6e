"""Carries WebSockets to a gateway as streams of one connection of HTTP/2 (RFC 8441), for a client that speaks HTTP/1.1:

    by_http2.py PORT GATEWAY-PORT HOST AUTHORITY    HOST with its port; AUTHORITY is a file of certificates

Takes the client's handshake, opens a stream by an extended CONNECT, answers as RFC 6455 §4.2.2 says; from there on the bytes
are passed on as they are. Each socket is a stream; a connection that ended is followed by another."""
import asyncio
import base64
import hashlib
import ssl
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, RemoteSettingsChanged, ResponseReceived, StreamEnded, StreamReset, WindowUpdated
from h2.settings import SettingCodes

port, gateway, host, authority = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
# Of the handshake, what is no field of a stream: hop by hop, or said by a pseudo-field.
LEFT_OUT = {b"host", b"upgrade", b"connection", b"sec-websocket-key"}


class Stream:
    def __init__(self, writer, key):
        self.writer, self.key, self.answered, self.room, self.ended = writer, key, asyncio.Event(), asyncio.Event(), False
        self.reset = False

    def answer(self, fields):
        """Passes on the answer at once: what the other end says comes behind it."""
        status = dict(fields)[b":status"]
        if status == b"200":
            accept = base64.b64encode(hashlib.sha1(self.key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n"
            head += b"".join(name + b": " + value + b"\r\n" for name, value in fields if name.startswith(b"sec-websocket-"))
        else:
            head = b"HTTP/1.1 " + status + b" Refused\r\n"
        self.writer.write(head + b"\r\n")
        self.answered.set()


class Gateway:
    """One connection, as long as it lasts."""

    def __init__(self):
        self.streams, self.over, self.allowed = {}, False, asyncio.Event()
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))

    async def open(self):
        context = ssl.create_default_context(cafile=authority)
        context.set_alpn_protocols(["h2"])
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", gateway, ssl=context, server_hostname=host.split(":")[0])
        assert self.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(1 << 26)
        self.flush()
        asyncio.ensure_future(self.read())
        await asyncio.wait_for(self.allowed.wait(), 5)

    def flush(self):
        self.writer.write(self.h2.data_to_send())

    async def read(self):
        try:
            while data := await self.reader.read(1 << 16):
                for event in self.h2.receive_data(data):
                    await self.hear(event)
                self.flush()
                await self.writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        self.over = True
        for stream in self.streams.values():
            self.end(stream)

    def end(self, stream):
        stream.ended = True
        stream.room.set()
        if not stream.answered.is_set():
            stream.answer([(b":status", b"502")])
        stream.writer.close()

    async def hear(self, event):
        if isinstance(event, RemoteSettingsChanged):
            if event.changed_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL):
                self.allowed.set()
            self.wake()
        elif isinstance(event, ConnectionTerminated):
            self.over = True
        elif isinstance(event, WindowUpdated):
            self.wake()
        stream = self.streams.get(getattr(event, "stream_id", None))
        if stream is None:
            return
        if isinstance(event, ResponseReceived) and not stream.answered.is_set():
            stream.answer(event.headers)
        elif isinstance(event, DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            stream.writer.write(event.data)
        elif isinstance(event, (StreamEnded, StreamReset)):
            stream.reset = isinstance(event, StreamReset)
            self.end(stream)

    def wake(self):
        for stream in self.streams.values():
            stream.room.set()

    async def socket(self, path, fields, client, writer, key):
        number, stream = self.h2.get_next_available_stream_id(), Stream(writer, key)
        self.streams[number] = stream
        self.h2.send_headers(number, [(b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"https"), (b":authority", host.encode()),
                                      (b":path", path), *fields])
        self.flush()
        await stream.answered.wait()
        while not stream.ended:
            data = await client.read(1 << 16)
            if not data:
                break
            while data and not stream.ended:
                room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
                if room <= 0:
                    stream.room.clear()
                    await stream.room.wait()
                    continue
                self.h2.send_data(number, data[:room])
                data = data[room:]
                self.flush()
                await self.writer.drain()
        del self.streams[number]
        # Whichever end was first, the stream counts as open until both have said so.
        if not stream.reset and not self.over:
            self.h2.end_stream(number)
            self.flush()


shared, opening = None, None


async def serve(client, writer):
    global shared
    try:
        head = await client.readuntil(b"\r\n\r\n")
        first, *lines = head[:-4].split(b"\r\n")
        fields = [(name.lower(), value.strip()) for name, value in (line.split(b":", 1) for line in lines)]
        key = dict(fields).get(b"sec-websocket-key")
        if key is None:
            return writer.close()
        async with opening:
            if shared is None or shared.over:
                shared = Gateway()
                await shared.open()
        await shared.socket(first.split(b" ")[1], [field for field in fields if field[0] not in LEFT_OUT], client, writer, key)
    except (OSError, asyncio.IncompleteReadError):
        pass


async def main():
    global opening
    opening = asyncio.Lock()
    async with await asyncio.start_server(serve, "127.0.0.1", port) as server:
        await server.serve_forever()


asyncio.run(main())
