"""Seven servers that read HTTP/1.1, and what each makes of the bytes that left the gateway."""
import hashlib
import os
import re
import socket
import subprocess
import sys
import time

from framing import closing, requests

HERE = os.path.dirname(os.path.abspath(__file__))
# A last request, after which every server closes: where one sees more or less before it, framing was read differently.
LAST = b"GET /the-last HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
PATIENCE = 5


def summary(method, body):
    # hypercorn knows methods in capitals alone.
    return f"{method.upper()}:{len(body)}:{hashlib.sha1(body).hexdigest()[:12]}"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Server:
    """A judge that is a server of its own."""

    def __init__(self, name, *command):
        self.name, self.port = name, free_port()
        self.process = subprocess.Popen([*command, str(self.port)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def wait(self):
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"{self.name} does not run: {self.process.stderr.read().decode()}")
                time.sleep(0.05)
        sys.exit(f"{self.name} does not listen")

    def read(self, stream, ends):
        """What it took for requests, and whether it went on to the end."""
        answer, quiet = b"", False
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.settimeout(PATIENCE if ends else 0.3)
            try:
                connection.sendall(stream)
                if not ends:
                    connection.shutdown(socket.SHUT_WR)
                while more := connection.recv(65536):
                    answer += more
            except TimeoutError:
                quiet = True
            except OSError:
                pass
        found = [each.decode() for each in re.findall(rb"(?im)^x-read: (\S+)", answer)]
        found = [each.split(":")[0].upper() + each[each.index(":"):] for each in found]
        statuses = [int(each) for each in re.findall(rb"(?m)^HTTP/1\.[01] (\d{3})", answer)]
        refused = [each for each in statuses if each >= 400]
        return found, f"answers {refused[0]}" if refused else "waits for more" if quiet and ends else "ends"

    def stop(self):
        self.process.kill()
        self.process.wait()


class Gunicorn:
    """gunicorn's parser, asked as its workers ask it: its sync worker takes one request of a connection alone."""
    name = "gunicorn"

    def __init__(self):
        from gunicorn.config import Config
        from gunicorn.http.parser import RequestParser
        self.parser, self.config = RequestParser, Config()
        self.config.set("limit_request_line", 0)
        self.config.set("limit_request_fields", 30000)
        self.config.set("limit_request_field_size", 30000)

    def wait(self):
        pass

    def read(self, stream, ends):
        found = []
        try:
            for one in self.parser(self.config, iter([stream]), ("127.0.0.1", 1)):
                found.append(summary(one.method, one.body.read()))
                if one.should_close():
                    break
        except Exception as error:
            return found, f"refuses: {type(error).__name__} {error}"
        # A body that breaks off it hands on as far as it came.
        return found if ends else found[:len(requests(stream)[0])], "ends"

    def stop(self):
        pass


def start(folder):
    """All seven; folder holds go-http, and python with the servers of Python."""
    python = f"{folder}/bin/python"
    judges = [Server("node", "node", f"{HERE}/judges/node.mjs"), Server("go", f"{folder}/go-http"), Gunicorn()]
    for name in ("waitress", "uvicorn-h11", "uvicorn-httptools", "hypercorn"):
        judges.append(Server(name, python, f"{HERE}/judges/app.py", name))
    for judge in judges:
        judge.wait()
    return judges


def expected(stream):
    """What the letter says: the requests, whether a server comes to their end, and what is wrong."""
    found, why = requests(stream)
    said, closed = [], False
    for method, _, fields, body in found:
        if closed:
            return said, True, "something follows a request that closes"
        said.append(summary(method.decode(), body))
        closed = closing(fields)
    if why not in (None, "cut short"):
        return said, False, why
    return said, closed, why


def ask(judges, stream):
    """Who disagrees with the letter about these bytes, and how: [(judge, what)]."""
    said, closed, why = expected(stream)
    if why not in (None, "cut short"):
        return [("the letter", why)]
    complete = why is None
    if complete and not closed:
        stream, said = stream + LAST, [*said, summary("GET", b"")]
    found = []
    for judge in judges:
        read, end = judge.read(stream, complete)
        if complete and (read != said or end not in ("ends",)) or not complete and read != said[:len(read)]:
            found.append((judge.name, f"{end}; reads {read}, the letter says {said}"))
    return found
