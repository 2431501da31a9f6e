"""An app that keeps the bytes of each connection and answers each well-formed request with 200; what it kept since it was
last asked is told, in hexadecimal, to whoever asks for /kept."""
import json
import socket
import sys
import threading

from framing import Malformed, request

kept = []


def converse(stream):
    seen, read = bytearray(), b""
    kept.append(seen)
    while True:
        try:
            found = request(read)
        except Malformed:
            stream.close()
            return
        if found is None:
            more = stream.recv(65536)
            if not more:
                stream.close()
                return
            read += more
            seen += more
            continue
        (_, target, _, _), rest = found
        body = b""
        if target == b"/kept":
            del seen[len(seen) - len(read):]
            body = json.dumps([bytes(each).hex() for each in kept if each]).encode()
            for each in kept:
                each.clear()
            seen += rest
        read = rest
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def guarded(stream):
    try:
        converse(stream)
    except OSError:
        pass


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=200)
while True:
    threading.Thread(target=guarded, args=(listener.accept()[0],), daemon=True).start()
