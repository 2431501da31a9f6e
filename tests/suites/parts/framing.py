"""Requests of HTTP/1.1 taken from bytes: to the letter of RFC 9112, or (tolerant) as a lenient but sane reader would."""
import re

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"


class Malformed(Exception):
    pass


def fields_of(lines, tolerant):
    fields = []
    for line in lines:
        match = re.fullmatch(rb"(%s):[ \t]*(.*?)[ \t]*" % TOKEN, line, re.S)
        if not match or re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", match[2]):
            raise Malformed(f"field {line!r}")
        fields.append((match[1].lower(), match[2]))
    return fields


def chunks(data, end):
    body = b""
    while True:
        line = re.match(rb"([0-9a-fA-F]+)[ \t]*(;[^\r\n]*)?" + end, data)
        if not line:
            if len(data) < 4096 and not re.search(rb"\n", data):
                return None
            raise Malformed(f"chunk {data[:40]!r}")
        size, data = int(line[1], 16), data[line.end():]
        if size == 0:
            break
        close = re.match(end, data[size:])
        if not close:
            if len(data) < size + 2:
                return None
            raise Malformed("no end of a chunk")
        body, data = body + data[:size], data[size + close.end():]
    while True:
        line = re.match(rb"([^\r\n]*)" + end, data)
        if not line:
            return None
        data = data[line.end():]
        if not line[1]:
            return body, data


def request(data, tolerant=False):
    """((method, target, fields, body), rest), or None while bytes are missing."""
    end = rb"\r?\n" if tolerant else rb"\r\n"
    if tolerant:
        data = re.sub(rb"\A(\r?\n)+", b"", data)
    head = re.match(rb"(.*?)" + end + end, data, re.S)
    if not head:
        if not tolerant and re.search(rb"(?<!\r)\n|\r(?!\n|\Z)", data):
            raise Malformed("a line that ends in another way")
        return None
    lines = re.split(end, head[1])
    first = re.fullmatch(rb"(%s) ([!-~]+) HTTP/1\.([01])" % TOKEN, lines[0])
    if not first:
        raise Malformed(f"request line {lines[0]!r}")
    fields, rest = fields_of(lines[1:], tolerant), data[head.end():]
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if codings and (not tolerant and (lengths or len(codings) > 1 or first[3] == b"0") or codings[-1].lower() != b"chunked"):
        raise Malformed("framing")
    if codings:
        done = chunks(rest, end)
        if done is None:
            return None
        body, rest = done
    else:
        if len(set(lengths)) > 1 or len(lengths) > 1 and not tolerant or lengths and not re.fullmatch(rb"[0-9]+", lengths[0]):
            raise Malformed("lengths")
        size = int(lengths[0]) if lengths else 0
        if len(rest) < size:
            return None
        body, rest = rest[:size], rest[size:]
    if not tolerant and len([1 for name, _ in fields if name == b"host"]) != 1:
        raise Malformed("hosts")
    return (first[1], first[2], fields, body), rest


def closing(fields):
    return any(b"close" in [each.strip() for each in value.lower().split(b",")] for name, value in fields if name == b"connection")


def requests(data, tolerant=False):
    """All of them, and why there are no more: None, "cut short" or what is malformed."""
    found = []
    while data:
        try:
            one = request(data, tolerant)
        except Malformed as why:
            return found, str(why)
        if one is None:
            return found, "cut short" if data.strip() else None
        found.append(one[0])
        data = one[1]
    return found, None
