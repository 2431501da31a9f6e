"""Sends each request of the corpora to a port of a codespace and judges what its app received.

Allowed is nothing, or requests that are well-formed to the letter, that gunicorn and h11 read in the same way, and that
say the same as the corpus (or, where the corpus refuses, the one sane reading of what was sent)."""
import glob
import json
import os
import re
import socket
import sys

gunicorn, aiohttp, gateway, host = sys.argv[1:]
sys.path.insert(0, gunicorn)
sys.path.insert(0, os.path.join(gunicorn, "tests"))
import h11
from framing import requests
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser

EXPLAINED = {
    "gunicorn invalid/041": "two Content-Type fields, which gunicorn refuses: an app's own affair, of framing they say nothing",
}
unlimited = Config()
for limit in ("limit_request_line", "limit_request_fields", "limit_request_field_size"):
    unlimited.set(limit, {"limit_request_line": 0}.get(limit, 30000))
address = ("127.0.0.1", int(gateway))
LINE = re.compile(rb"([A-Z-]+ [^\r\n]* HTTP/1\.[01])(\r?\n)")


def with_host(data, several):
    """The request for our host: its first Host says so, or gets said after the first line; of several, in each head."""
    named = re.compile(rb"(\nHost[ \t]*:[ \t]*)[^\r\n]*", re.I)
    if several:
        parts = LINE.split(data)
        heads = [parts[at] + parts[at + 1] + parts[at + 2] for at in range(1, len(parts), 3)]
        return parts[0] + b"".join(with_host(head, False) for head in heads)
    head = re.match(rb".*?\n\r?\n", data, re.S)
    at = head.end() if head else len(data)
    if named.search(data[:at]):
        return named.sub(lambda match: match[1] + host.encode(), data[:at], count=1) + data[at:]
    line = re.match(rb"(?:\r?\n)*[^\n]*\n", data)
    if not line:
        return data
    end = b"\r\n" if line[0].endswith(b"\r\n") else b"\n"
    return data[:line.end()] + b"Host: " + host.encode() + end + data[line.end():]


def from_gunicorn():
    import treq
    for kind in ("valid", "invalid"):
        for path in sorted(glob.glob(f"{gunicorn}/tests/requests/{kind}/*.http")):
            try:
                sent = treq.request(path, []).data
            except AssertionError:
                sent = open(path, "rb").read().replace(b"\n", b"").replace(b"\\r\\n", b"\r\n").replace(b"\\n", b"\n")
            wanted = None
            if kind == "valid":
                said = treq.load_py(path[:-5] + ".py")["request"]
                said = said if isinstance(said, list) else [said]
                wanted = [(each["method"].encode(), each["uri"]["raw"].encode("latin-1"), each["body"] or b"") for each in said]
            yield f"gunicorn {kind}/{os.path.basename(path)[:-5]}", sent, wanted


def from_llhttp():
    """As its own tests read them: a line's end is \\r\\n, a backslash takes the line's end away."""
    for path in sorted(glob.glob(f"{aiohttp}/vendor/llhttp/test/request/*.md")):
        found = re.findall(r"<!-- meta=(\{[^\n]*?\}) -->\s*```http\n((?:(?!```).)*)```\s*```log\n(.*?)```", open(path).read(), re.S)
        for number, (meta, text, log) in enumerate(found, 1):
            text = re.sub(r"\n$", "", text)
            text = re.sub(r"\\(\r\n|\r|\n)", "", text).replace("\r\n", "\n").replace("\n", "\r\n")
            text = text.replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t").replace("\\f", "\f")
            text = re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), text)
            wanted, spans = [], lambda name, part: "".join(re.findall(rf'span\[{name}\]="([^"]*)"', part))
            for part in re.split(r"(?=off=\d+ message begin)", log)[1:]:
                body = "".join({"cr": "\r", "lf": "\n"}.get(plain, quoted)
                               for quoted, plain in re.findall(r'span\[body\]=(?:"([^"]*)"|(cr|lf))', part))
                if "message complete" in part:
                    wanted.append((spans("method", part).encode(), spans("url", part).encode(), body.encode()))
            refused = "error code=" in log and "reason=\"on_" not in log or json.loads(meta)["type"] != "request"
            yield f"llhttp {os.path.basename(path)[:-3]} {number}", text.encode(), None if refused else wanted


def exchange(data):
    with socket.create_connection(address) as stream:
        stream.settimeout(0.4)
        answer = b""
        try:
            stream.sendall(data)
            while more := stream.recv(65536):
                answer += more
        except OSError:
            pass
    return answer


def kept():
    with socket.create_connection(address) as stream:
        stream.settimeout(20)
        stream.sendall(f"GET /kept HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while more := stream.recv(65536):
            answer += more
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 200 " in head.split(b"\r\n")[0], answer
    body = re.search(rb"\[.*\]", body, re.S)
    return [bytes.fromhex(each) for each in json.loads(body[0])]


def by_gunicorn(data):
    return [(one.method.encode(), one.uri.encode("latin-1"), one.body.read()) for one in RequestParser(unlimited, iter([data]), ("127.0.0.1", 1))]


def by_h11(data):
    connection, found = h11.Connection(h11.SERVER), []
    connection.receive_data(data)
    connection.receive_data(b"")
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            found.append([event.method, event.target, b""])
        elif isinstance(event, h11.Data):
            found[-1][2] += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            if connection.our_state is h11.SEND_RESPONSE:
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
            if connection.their_state is not h11.DONE or connection.our_state is not h11.DONE:
                return [tuple(one) for one in found]
            connection.start_next_cycle()
        else:
            return [tuple(one) for one in found]


def target(text):
    """What an app is asked for: of an absolute target its path and query."""
    text = re.sub(rb"\A[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*", b"", text) if not text.startswith(b"/") else text
    return b"/" + text if text[:1] in (b"", b"?") else text


def judge(sent, wanted, arrived):
    """What is wrong, or how it ended."""
    reached = []
    for connection in arrived:
        mine, why = requests(connection)
        if why and (why != "cut short" or not mine and b"\r\n\r\n" not in connection):
            return f"the app got what is malformed ({why}): {connection[:300]!r}"
        mine = [(method, path, body) for method, path, _, body in mine]
        for name, other in (("gunicorn", by_gunicorn), ("h11", by_h11)):
            if why is None:
                try:
                    read = other(connection)
                except Exception as error:
                    return f"{name} refuses what the app got ({error!r}): {connection[:300]!r}"
                if read != mine:
                    return f"{name} reads {read}, the letter says {mine}"
        if why:
            continue  # A body that its sender never ended: nothing that means anything.
        reached += mine
    if not reached:
        return "refused"
    accepted = wanted is not None
    if not accepted:
        wanted = [(method, path, body) for method, path, _, body in requests(sent, tolerant=True)[0]]
    wanted = [(method, target(path), body) for method, path, body in wanted]
    if reached != wanted[:len(reached)]:
        return f"sent means {wanted}, the app got {reached}: {arrived}"
    return "passed" if accepted else "made anew"


wrong, ends, anew, strict = [], {}, [], []
kept()
for name, sent, wanted in [*from_gunicorn(), *from_llhttp()]:
    several = wanted is not None and len(wanted) > 1 and len(LINE.findall(sent)) == len(wanted)
    data = with_host(sent, several)
    answer = exchange(data)
    end = judge(data, wanted, kept())
    corpus = name.split()[0]
    kind = end if end in ("refused", "passed", "made anew") else "explained" if name in EXPLAINED else "DISAGREES"
    if kind == "refused" and wanted is not None:
        kind = "refused though the corpus accepts"
        strict.append(f"{name}: {answer[9:12].decode() or 'no answer'} to {data[:70]!r}")
    ends.setdefault(corpus, {}).setdefault(kind, []).append(name)
    if kind == "made anew":
        anew.append(f"{name}: {data[:110]!r}")
    if kind == "DISAGREES":
        wrong.append(f"{name}: {end}\n    sent {data[:400]!r}\n    answer {answer[:60]!r}")

for corpus, kinds in ends.items():
    total = sum(len(names) for names in kinds.values())
    print(f"{corpus}: {total} requests: " + ", ".join(f"{len(names)} {kind}" for kind, names in sorted(kinds.items())))
print(f"\ndisagreements: {len(wrong)}")
for line in wrong:
    print("  " + line)
print("\nexplained:")
for name, why in EXPLAINED.items():
    print(f"  {name}: {why}")
print("\naccepted by the corpus, but refused:")
for line in strict:
    print("  " + line)
print("\nrefused by the corpus, but of one meaning, and written anew for the app:")
for line in anew:
    print("  " + line)
sys.exit(1 if wrong else 0)
