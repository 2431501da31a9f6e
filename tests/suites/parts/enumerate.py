"""Asks for what exists and for what does not, in random order on one connection, and tells whether the times say which is which.

What counts is how often an answer for something took longer than one for nothing, of all pairs: 0.5 if the times say nothing.
Two names that nobody has are compared too: what they differ by is noise."""
import http.client
import random
import statistics
import sys
import time

port, running, stopped, app, token, count = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5], int(sys.argv[6])


def missing(like):
    """A name of the same grammar and length that nobody has; asked for again and again, as what exists is."""
    *words, tail = like.split("-")
    letters = ["".join(random.choices("bcdfghjklm", k=len(word))) for word in words]
    return "-".join([*letters, tail])


NOBODYS = [missing(running), missing(running)]


THINGS = {
    "nothing": NOBODYS[0] + f"-{app}",
    "nothing, again": NOBODYS[1] + f"-{app}",
    "a private port": f"{running}-{app}",
    "a closed port": f"{running}-{int(app) + 1}",
    "a stopped codespace's port": f"{stopped}-{app}",
}
EDITORS = {
    "no editor": NOBODYS[0],
    "no editor, again": NOBODYS[1],
    "an editor": running,
    "a stopped codespace's editor": stopped,
}


def measure(things, headers):
    took, answers = {name: [] for name in things}, {}
    connection = http.client.HTTPConnection("127.0.0.1", port)
    order = [name for name in things for _ in range(count // len(things))]
    random.shuffle(order)
    for name in order:
        host = f"{things[name]}.codespaces.localhost:{port}"
        began = time.perf_counter_ns()
        connection.request("GET", "/some/page", headers={"Host": host, **headers})
        answer = connection.getresponse()
        body = answer.read()
        took[name].append((time.perf_counter_ns() - began) / 1000)
        answers.setdefault(name, set()).add((answer.status, len(body)))
    return took, answers


def slower(these, those):
    """How often one of these took longer than one of those, of all pairs (Mann and Whitney's U by the number of pairs)."""
    ranked = sorted([(value, 1) for value in these] + [(value, 0) for value in those])
    ranks = sum(rank for rank, (_, of_these) in enumerate(ranked, 1) if of_these)
    return (ranks - len(these) * (len(these) + 1) / 2) / (len(these) * len(those))


differ = False
for who, headers in [("nobody", {}), ("somebody else", {"X-Portico-Token": token})]:
    for things in (THINGS, EDITORS):
        took, answers = measure(things, {**headers, "Accept": "application/json"})
        baseline = next(iter(things))
        for name, values in took.items():
            cuts = statistics.quantiles(values, n=100)
            pairs = f"longer than for nothing in {slower(values, took[baseline]):.3f} of pairs" if name != baseline else ""
            print(f"{who}, {name}: {len(values)} answers, median {cuts[49]:.0f} µs, p90 {cuts[89]:.0f}, p99 {cuts[98]:.0f} {pairs}".rstrip())
        if len(set(map(frozenset, answers.values()))) > 1:
            differ = True
            print(f"  DIFFERENT: {answers}")
sys.exit(differ)
