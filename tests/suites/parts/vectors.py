"""The requests of gunicorn's and llhttp's corpora, and mutations of our own."""
import glob
import json
import os
import random
import re
import sys

from framing import requests

LINE = re.compile(rb"([A-Z-]+ [^\r\n]* HTTP/1\.[01])(\r?\n)")


def for_host(data, host, several):
    """The request for our host: its first Host says so, or gets said after the first line; of several, in each head."""
    named = re.compile(rb"(\nHost[ \t]*:[ \t]*)[^\r\n]*", re.I)
    if several:
        parts = LINE.split(data)
        heads = [parts[at] + parts[at + 1] + parts[at + 2] for at in range(1, len(parts), 3)]
        return parts[0] + b"".join(for_host(head, host, False) for head in heads)
    head = re.match(rb".*?\n\r?\n", data, re.S)
    at = head.end() if head else len(data)
    if named.search(data[:at]):
        return named.sub(lambda match: match[1] + host, data[:at], count=1) + data[at:]
    line = re.match(rb"(?:\r?\n)*[^\n]*\n", data)
    if not line:
        return data
    end = b"\r\n" if line[0].endswith(b"\r\n") else b"\n"
    return data[:line.end()] + b"Host: " + host + end + data[line.end():]


def from_gunicorn(folder):
    sys.path[:0] = [folder, f"{folder}/tests"]
    import treq
    for kind in ("valid", "invalid"):
        for path in sorted(glob.glob(f"{folder}/tests/requests/{kind}/*.http")):
            try:
                sent = treq.request(path, []).data
            except AssertionError:
                sent = open(path, "rb").read().replace(b"\n", b"").replace(b"\\r\\n", b"\r\n").replace(b"\\n", b"\n")
            wanted = None
            if kind == "valid":
                said = treq.load_py(path[:-5] + ".py")["request"]
                said = said if isinstance(said, list) else [said]
                wanted = [(each["method"].encode(), each["uri"]["raw"].encode("latin-1"), each["body"] or b"") for each in said]
                wanted = [(method, target, body.encode() if isinstance(body, str) else body) for method, target, body in wanted]
            yield f"gunicorn {kind}/{os.path.basename(path)[:-5]}", sent, wanted


def from_llhttp(folder):
    """As its own tests read them: a line's end is \\r\\n, a backslash takes the line's end away."""
    for path in sorted(glob.glob(f"{folder}/vendor/llhttp/test/request/*.md")):
        found = re.findall(r"<!-- meta=(\{[^\n]*?\}) -->\s*```http\n((?:(?!```).)*)```\s*```log\n(.*?)```", open(path).read(), re.S)
        for number, (meta, text, log) in enumerate(found, 1):
            text = re.sub(r"\n\Z", "", text)
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


# What can be odd about a request; the first of each is what is usual.
FIELDS = {
    "length": [b"5", b"0", b"6", b"4", b"05", b"+5", b"-5", b"5 ", b" 5", b"5,5", b"5, 5", b"0x5", b"5;a=b", b"5 5", b"", b"\x0b5", b"5\x00", b"1e1",
               b"99999999999999999999", b"5\r\nContent-Length: 5", b"5\r\nContent-Length: 6", b"5\r\nContent-length : 7"],
    "coding": [b"chunked", b"Chunked", b"CHUNKED", b"xchunked", b"chunked, chunked", b"chunked, identity", b"identity, chunked", b"gzip, chunked",
               b"identity", b"chunked;q=1", b"\"chunked\"", b"chunked ", b"\tchunked", b"\x0bchunked", b"chunked\x00", b"chun\r\n ked", b", chunked",
               b"chunked,", b"\r\n chunked", b"chunked\r\nTransfer-Encoding: identity", b"identity\r\nTransfer-Encoding: chunked", b"cow", b""],
    "spelling": [b"%s: ", b"%s:", b"%s :", b" %s: ", b"%s\t: ", b"%s:\t", b"\t%s: ", b"%s\x00: ", b"X: a\n%s: ", b"X: a\r%s: ", b"X: a\r\r\n%s: ",
                 b"%s: \r\n ", b"\"%s\": ", b"%s\xa0: ", b"%s:: ", b"(%s): ", b": %s: "],
    "chunks": [b"5\r\nhello\r\n0\r\n\r\n", b"5;a=b\r\nhello\r\n0\r\n\r\n", b"5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n", b"05\r\nhello\r\n0\r\n\r\n",
               b"5 \r\nhello\r\n0\r\n\r\n", b"5\t;a\r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n",
               b"+5\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b"5\nhello\n0\n\n", b"5\rhello\r0\r\r", b"5\r\nhello0\r\n\r\n",
               b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello\r\n0\n\n", b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
               b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n", b"5\r\nhello\r\n0\r\n X: y\r\n\r\n", b"5\r\nhello\r\n000\r\n\r\n",
               b"00000000000000005\r\nhello\r\n0\r\n\r\n", b"10000000000000005\r\nhello\r\n0\r\n\r\n", b"5;\x00\r\nhello\r\n0\r\n\r\n",
               b"5;a\nb\r\nhello\r\n0\r\n\r\n", b"5;a\r\r\nhello\r\n0\r\n\r\n", b"A\r\nhellohello\r\n0\r\n\r\n", b"a\r\nhellohello\r\n0\r\n\r\n",
               b"5_0\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\nX\r\n\r\n", b"5\r\nhello\r\n0\r\nX: a\rb\r\n\r\n", b"0\r\n\r\n", b"\r\n\r\n",
               b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n", b"5\r\n\r\n5\r\n0\r\n\r\n0\r\n\r\n"],
    "other": [b"", b"Connection: close", b"Connection: keep-alive", b"Connection: Content-Length", b"Connection: Transfer-Encoding", b"Expect: 100-continue",
              b"TE: trailers", b"Trailer: X", b"Upgrade: h2c", b"X-A: b", b"X-A:", b"X_A: b", b"X-A: b\xe9", b"X-A: b\x7f", b"Content_Length: 9",
              b"Transfer_Encoding: chunked", b"X-HTTP-Method-Override: PUT", b"Content-Encoding: gzip", b"Keep-Alive: 5", b"Content-Length: 5",
              b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Content-Length: 0"],
    "line": [b"%s %s HTTP/1.1", b"%s %s HTTP/1.0", b"%s  %s HTTP/1.1", b"%s %s  HTTP/1.1", b"%s %s HTTP/1.1 ", b"%s\t%s HTTP/1.1", b"%s %s HTTP/1.2",
             b"%s %s HTTP/2.0", b"%s %s http/1.1", b"%s %s HTTP/01.1", b"%s %s", b" %s %s HTTP/1.1", b"\r\n%s %s HTTP/1.1", b"\n%s %s HTTP/1.1",
             b"%s %s HTTP/1.1\r\n X: y"],
    "method": [b"POST", b"GET", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"post", b"M-SEARCH", b"PROPFIND"],
    "target": [b"/a", b"/a?b=c", b"/a#b", b"//a", b"/%00", b"/a\\b", b"http://other.example/a", b"*", b"/a\x80", b"/?\x0b", b"a", b"/a;b", b"http://HOST", b"http://HOST/a", b"http://HOST?b", b"http://HOST#b", b"#/a",
               b"/a HTTP/1.1\r\nX: y"],
    "end": [b"\r\n", b"\n", b"\r", b"\r\r\n"],
    "last": [b"\r\n", b"\n", b"\r\n\r\n", b" \r\n", b"\r"],
    "byte": [None, b"\r", b"\n", b"\0", b" ", b"\t", b"\x0b", b":", b"\xff", b"", b"#", b"\r\n", b"\""],
}


def mutation(choice):
    """One request, most of it as it should be, and up to three things that readers differ in."""
    odd = set(choice.sample(sorted(FIELDS), choice.choice([0, 1, 1, 1, 2, 2, 3])))
    part = {name: choice.choice(kinds) if name in odd else kinds[0] for name, kinds in FIELDS.items()}
    fields, body = [b"Host: HOST"], b""
    framed = choice.choice(["length", "length", "chunks", "chunks", "chunks", "both", "none"])
    if framed in ("length", "both"):
        fields.append(part["spelling"] % b"Content-Length" + part["length"])
        body = b"hello"
    if framed in ("chunks", "both"):
        fields.append(part["spelling"] % b"Transfer-Encoding" + part["coding"])
        body = part["chunks"]
    fields += [part["other"]] if part["other"] else []
    choice.shuffle(fields)
    head = part["line"] % (part["method"], part["target"]) + part["end"] + part["end"].join(fields) + part["end"] + part["last"]
    if part["byte"] is not None:
        at = choice.randrange(len(head))
        head = head[:at] + part["byte"] + head[at + choice.choice([0, 1]):]
    return head + body


def mutations(seed, count, host):
    """Each is followed by another request, since that is where what was read differently shows."""
    choice = random.Random(seed)
    for number in range(count):
        following = b"GET /following HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"
        yield f"mutation {seed}/{number}", (mutation(choice) + following).replace(b"HOST", host), None


def all_of(corpora, seed, count, host):
    for corpus, folder in corpora.items():
        for name, sent, wanted in {"gunicorn": from_gunicorn, "llhttp": from_llhttp}[corpus](folder):
            several = wanted is not None and len(wanted) > 1 and len(LINE.findall(sent)) == len(wanted)
            yield name, for_host(sent, host, several), wanted
    yield from mutations(seed, count, host)


def over_http2(sent, wanted):
    """The same with the frames of HTTP/2, as far as it can be said there: [(method, target, fields, body)], or nothing."""
    found = []
    rest = re.sub(rb"\A(\r?\n)+", b"", sent)
    if wanted is not None and len(wanted) > 1:
        whole, why = requests(sent, tolerant=True)
        return [(method, target, fields, body) for method, target, fields, body in whole] if why is None else []
    head, _, rest = rest.partition(b"\r\n\r\n")
    first, *lines = re.split(rb"\r?\n", head)
    words = first.split(b" ")
    if len(words) != 3:
        return []
    fields = []
    for line in lines:
        name, _, value = line.partition(b":")
        fields.append((name.lower(), value.removeprefix(b" ")))
    read, _ = requests(sent, tolerant=True)
    found.append((words[0], words[1], fields, read[0][3] if read else rest))
    return found
