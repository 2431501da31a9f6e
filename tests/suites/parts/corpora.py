"""Judges what capture.py kept: whether what arrived means what was sent, and whether seven servers read it as one.

    corpora.py JUDGES-FOLDER CAPTURED…

Allowed is nothing, or requests that are well-formed to the letter, that say the same as the corpus (or, where the corpus
refuses, the one sane reading of what was sent), and of which all judges see the same number with the same bodies."""
import collections
import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import judges
from framing import requests

# What waitress reads in another way than all others: it takes the request that follows for a body.
WITNESS = b"GET / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"
# Where judges may disagree, and why: (judge, bytes that left, how it ends, reason).
METHODS = rb"(?m)^(?!(GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH) )[!-~]+ [!-~]+ HTTP/1.1\r$"
ALLOWED = [
    ("node", METHODS, "answers 400", "knows a list of methods and refuses others with the connection, none of them read as anything else"),
    ("uvicorn-httptools", METHODS, "answers 400", "knows a list of methods and refuses others with the connection, none of them read as anything else"),
    ("gunicorn", METHODS, "refuses: InvalidRequestMethod", "refuses methods with small letters or #"),
    ("waitress", METHODS, "answers 400", "refuses methods with small letters"),
    ("gunicorn", rb"(?im)^content-type:[^\n]*\n([^\n]+\n)*content-type:", "refuses: InvalidHeader", "refuses two Content-Type, which say nothing of framing"),
]


def target(text):
    """What an app is asked for: of an absolute target its path and query."""
    text = re.sub(rb"\A[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*", b"", text) if not text.startswith(b"/") else text
    return b"/" + text if text[:1] in (b"", b"?") else text


def meaning(case, cut=False):
    """How it ended, or what is wrong with the meaning of what arrived."""
    reached, arrived = [], [bytes.fromhex(each) for each in case["arrived"]]
    for connection in arrived:
        mine, why = requests(connection)
        if why and (why != "cut short" or not mine and b"\r\n\r\n" not in connection):
            return f"the app got what is malformed ({why}): {connection[:300]!r}"
        reached += [(method, path, body) for method, path, _, body in mine]
    if not reached:
        return "refused"
    wanted, host = case["wanted"], case["host"].encode()
    if wanted is None:
        # What is for another host is not the app's.
        read = requests(bytes.fromhex(case["sent"]), tolerant=True)[0]
        wanted = [(method, path, body) for method, path, fields, body in read if (b"host", host) in fields]
    else:
        wanted = [tuple(bytes.fromhex(each) for each in one) for one in wanted]
    wanted = [(method, target(path.split(b"#")[0] if cut else path), body) for method, path, body in wanted]
    # Streams of HTTP/2 may overtake each other, and the app's connections are not in the order of what came on them.
    whole = case["over"] == "http2" or len(arrived) > 1
    # One that is refused whole leaves the connection to the next.
    left = iter(wanted)
    if collections.Counter(reached) - collections.Counter(wanted) if whole else not all(each in left for each in reached):
        return f"sent means {wanted}, the app got {reached}"[:1500]
    return "passed" if case["wanted"] is not None else "made anew"


def plain(stream):
    """The bytes without what differs in every request, so that equal streams are judged once."""
    return re.sub(rb"(?m)^(x-request-id: )[0-9a-f]+\r$", rb"\g<1>0\r", re.sub(rb"(?m)^(host: localhost:)\d+\r$", rb"\g<1>1\r", stream))


def explained_by(case):
    """Why a meaning is another one although nothing is wrong."""
    if case["over"] == "http2" and b"#" in bytes.fromhex(case["sent"]) and meaning(case, cut=True) in ("passed", "made anew"):
        return "hyper cuts a # and what follows off a target of HTTP/2 before anybody can refuse it: " \
            "what is decided on and what the app gets are the same"
    return None


def allowed(judge, stream, how):
    for who, bytes_of, end, why in ALLOWED:
        if judge == who and re.search(bytes_of, stream) and re.match(end, how):
            return f"{who}: {why}"
    return None


def main():
    folder, *captured = sys.argv[1:]
    cases = [json.loads(line) for file in captured for line in open(file)]
    streams = collections.defaultdict(list)
    for case in cases:
        for each in case["arrived"]:
            streams[plain(bytes.fromhex(each))].append(case)
    court = judges.start(folder)
    try:
        if not judges.ask(court, WITNESS):
            sys.exit("the judges agree on what they are known to disagree on: they are not heard")
        with ThreadPoolExecutor(4) as several:
            verdicts = dict(zip(streams, several.map(lambda stream: judges.ask(court, stream), streams)))
    finally:
        for judge in court:
            judge.stop()

    wrong, ends, strict, explained, let = [], collections.defaultdict(collections.Counter), collections.defaultdict(dict), collections.Counter(), collections.Counter()
    for case in sorted(cases, key=lambda case: (case["over"], case["name"])):
        end, kind = meaning(case), case["name"].split()[0]
        if end not in ("refused", "passed", "made anew"):
            why = explained_by(case)
            if why:
                explained[why] += 1
            else:
                wrong.append(f"{case['over']}, {case['name']}: {end}\n    sent {bytes.fromhex(case['sent'])[:300]!r}, answered {case['answer']}")
            end = "explained" if why else "of another meaning"
        elif end == "refused" and case["wanted"] and case["over"] != "http2":
            end = "refused though the corpus accepts"
            strict[case["answer"]][case["name"]] = None
        ends[f"{kind} over {case['over']}"][end] += 1
    for stream, found in verdicts.items():
        for judge, how in found:
            why = allowed(judge, stream, how)
            if why:
                let[why] += 1
            else:
                wrong.append(f"{judge} on what arrived of {streams[stream][0]['name']}: {how}"[:1200] + f"\n    {stream[:400]!r}")

    for kind, counts in sorted(ends.items()):
        print(f"{kind}: {sum(counts.values())} requests: " + ", ".join(f"{count} {end}" for end, count in sorted(counts.items())))
    many = collections.Counter(len(requests(stream)[0]) for stream in streams)
    print(f"\n{len(streams)} different streams left the gateway, with " + ", ".join(f"{number} whole requests ({count})" for number, count in sorted(many.items())))
    print(f"judges: {', '.join(judge.name for judge in court)}\n\ndisagreements: {len(wrong)}")
    for line in wrong:
        print("  " + line)
    for title, list_of in (("allowed, by hand", let), ("another meaning, explained", explained)):
        print(f"\n{title}:")
        for why, count in sorted(list_of.items()):
            print(f"  {count} × {why}")
    if strict:
        print("\naccepted by the corpus, but refused:")
        for answer, names in sorted(strict.items()):
            print(f"  {answer}: {', '.join(names)}")
    sys.exit(1 if wrong else 0)


main()
