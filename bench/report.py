"""What was found: one table of medians and ratios, the same as JSON with every single value, and the budgets."""

import json
import os
import statistics

import budgets
import plot
from measure import NO_PROXY, PRIVATE, PUBLIC


class Report:
    def __init__(self, peers, order):
        self.peers, self.order = peers, order
        self.facts, self.parts, self.measures, self.raw, self.notes = {}, {}, {}, [], []

    # What was found before

    def resume(self, path, again):
        """Takes over what an earlier run found in parts that are not measured again."""
        if not os.path.exists(path):
            return
        with open(path) as file:
            old = json.load(file)
        kept = lambda rows: [row for row in rows if row["part"] not in again]
        self.parts = {part: facts for part, facts in old.get("parts", {}).items() if part not in again}
        self.measures = {name: known for name, known in old["measures"].items() if known.get("part", "") not in again}
        self.raw, self.notes = kept(old.get("raw", [])), kept(old["notes"])
        self.facts = old["facts"]
        self.peers = [*self.peers, *(name for name in old.get("peers", []) if name not in self.peers)]

    # What is found now

    def add(self, part, measure, unit, who, value, agent=None, more=False, added=False, plain=False):
        """Notes one value. `more`: more is better. `added`: compared is what a proxy adds to no proxy at all. `plain`: neither better nor worse."""
        fresh = {"part": part, "unit": unit, "more_is_better": more, "added": added, "plain": plain, "values": {}, "agent": []}
        known = self.measures.setdefault(measure, fresh)
        known["values"].setdefault(who, []).append(value)
        if agent is not None and who == PRIVATE:
            known["agent"].append(agent)

    def note(self, part, text):
        if not any(note["text"] == text for note in self.notes):
            self.notes.append({"part": part, "text": text})
            print(f"  ! {text}", flush=True)

    # What it says

    def ordered(self):
        """All measures, in the order in which a whole run finds them."""
        place = {part: index for index, part in enumerate(self.order)}
        return sorted(self.measures, key=lambda name: place.get(self.measures[name]["part"], len(place)))

    def medians(self, measure):
        known = self.measures.get(measure)
        return {who: statistics.median(values) for who, values in known["values"].items()} if known else {}

    def agent(self, measure):
        values = self.measures.get(measure, {}).get("agent")
        return statistics.median(values) if values else None

    def ratio(self, measure, who, peer):
        """How `who` compares with `peer`; below 1 is better where less is better."""
        medians = self.medians(measure)
        if who not in medians or peer not in medians or self.measures[measure]["plain"]:
            return None
        floor = medians.get(NO_PROXY, 0) if self.measures[measure]["added"] else 0
        own, other = medians[who] - floor, medians[peer] - floor
        return own / other if other > 0 else None

    def table(self):
        used = [who for who in [NO_PROXY, *self.peers, PUBLIC, PRIVATE] if any(who in known["values"] for known in self.measures.values())]
        compared = [peer for peer in self.peers[:2] if peer in used]
        rows = [["measure", "unit", *used, "agent", *(f"private ÷ {peer}" for peer in compared)]]
        for measure in self.ordered():
            known, medians = self.measures[measure], self.medians(measure)
            ratios = [self.ratio(measure, PRIVATE, peer) for peer in compared]
            unit = known["unit"] + (" (more is better)" if known["more_is_better"] else "")
            cells = [figure(medians.get(who)) for who in used]
            rows.append([measure, unit, *cells, figure(self.agent(measure)), *(f"{ratio:.2f}" if ratio is not None else "" for ratio in ratios)])
        return columns(rows)

    def budgets(self):
        rows = [["budget", "limit", "found", ""]]
        for budget in budgets.ALL:
            found = budget.found(self)
            rows.append([budget.what, f"{'≥' if budget.more else '≤'} {figure(budget.limit)}{budget.unit}", figure(found) + budget.unit if found is not None else "", budget.verdict(found)])
        return columns(rows)

    def text(self):
        return "\n\n".join([self.table(), self.budgets(), *(note["text"] for note in self.notes)])

    def write(self, directory):
        os.makedirs(directory, exist_ok=True)
        whole = {"facts": self.facts, "peers": self.peers, "parts": self.parts, "measures": self.measures, "raw": self.raw, "notes": self.notes}
        for name, text in (("result.json", json.dumps(whole, indent=1)), ("result.md", self.text() + "\n"), ("ratios.svg", plot.ratios(self))):
            with open(f"{directory}/{name}.new", "w") as file:
                file.write(text)
            os.replace(f"{directory}/{name}.new", f"{directory}/{name}")

    # The short table of a README

    def readme(self):
        rows = [["", *self.peers[:2], "Portico", "its agent", *(f"÷ {peer}" for peer in self.peers[:2])]]
        for title, measure in budgets.SHOWN:
            medians = self.medians(measure)
            if not medians:
                continue
            ratios = [self.ratio(measure, PRIVATE, peer) for peer in self.peers[:2]]
            cells = [figure(medians.get(who)) for who in (*self.peers[:2], PRIVATE)]
            rows.append([f"{title}, {self.measures[measure]['unit']}", *cells, figure(self.agent(measure)), *(f"{ratio:.2f}" if ratio is not None else "" for ratio in ratios)])
        facts = self.facts
        kernel = ".".join(facts.get("kernel", "unknown").split(".")[:2])
        versions = ", ".join(f"{name} {facts['versions'][name]}" for name in self.peers[:2] if name in facts.get("versions", {}))
        where = f"{facts.get('cpu', 'unknown')}, {facts.get('cores')} cores, Linux {kernel}; {versions}"
        return f"{columns(rows)}\n\n{columns_of_budgets(self)}\n\nMedians, measured on: {where}.\n"

    def fill(self, path):
        """Puts the short table between the marks of a Markdown file."""
        first, last = "<!-- figures: bench/run --readme -->", "<!-- end of figures -->"
        with open(path) as file:
            text = file.read()
        if first not in text or last not in text:
            raise SystemExit(f"{path} has no place for figures: a line {first} and a line {last}")
        before, after = text.split(first)[0], text.split(last, 1)[1]
        with open(path, "w") as file:
            file.write(f"{before}{first}\n{self.readme()}{last}{after}")


def columns_of_budgets(report):
    """Met and missed, in a line each."""
    verdicts = [(budget, budget.found(report)) for budget in budgets.ALL]
    met = sum(budget.verdict(found) == "met" for budget, found in verdicts)
    missed = [f"{budget.what} ({figure(found)}{budget.unit}, not {figure(budget.limit)}{budget.unit})" for budget, found in verdicts if budget.verdict(found) == "missed"]
    absent = [budget.what for budget, found in verdicts if found is None]
    lines = [f"Budgets: {met} met, {len(missed)} missed{', ' + str(len(absent)) + ' not measured' if absent else ''}."]
    if missed:
        lines.append(f"Missed: {'; '.join(missed)}.")
    return " ".join(lines)


def columns(rows):
    """Rows as a table that reads well as text and as Markdown."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def figure(value):
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
