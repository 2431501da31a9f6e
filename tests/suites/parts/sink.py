"""An app to attack slowly: it reads each body to its end, answers /large with a gigabyte, and says nothing else of note."""
import socket
import sys
import threading

BLOCK = b"x" * 65536


def line_of(text, name):
    return next((line.split(b":", 1)[1].strip() for line in text.split(b"\r\n") if line.lower().startswith(name + b":")), b"")


def converse(stream):
    read = b""
    while True:
        while b"\r\n\r\n" not in read:
            more = stream.recv(65536)
            if not more:
                return
            read += more
        head, read = read.split(b"\r\n\r\n", 1)
        left = int(line_of(head, b"content-length") or 0) - len(read)
        chunked = b"chunked" in line_of(head, b"transfer-encoding").lower()
        while left > 0 or chunked and not read.endswith(b"0\r\n\r\n"):
            read = stream.recv(65536)
            if not read:
                return
            left -= len(read)
        read = b""
        large = head.split(b" ", 2)[1].endswith(b"/large")
        length = 1 << 30 if large else 3
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % length)
        if head.startswith(b"HEAD "):
            continue
        for _ in range(length // len(BLOCK)):
            stream.sendall(BLOCK)
        if not large:
            stream.sendall(b"ok\n")


def guarded(stream):
    try:
        converse(stream)
    except OSError:
        pass
    stream.close()


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1000)
while True:
    threading.Thread(target=guarded, args=(listener.accept()[0],), daemon=True).start()
