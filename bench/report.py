"""What was found: one table of medians and ratios, the same as JSON, and a plot of the ratios."""

import html
import json
import statistics

NO_PROXY = "no proxy"
PUBLIC, PRIVATE = "portico, public", "portico, private"


class Report:
    def __init__(self):
        self.measures = {}
        self.notes = []

    def add(self, measure, unit, who, value, agent=None, more=False, added=False):
        """Notes one value. `more`: more is better. `added`: compared is what the proxy adds to no proxy at all."""
        known = self.measures.setdefault(measure, {"unit": unit, "more_is_better": more, "added": added, "values": {}, "agent": []})
        known["values"].setdefault(who, []).append(value)
        if agent is not None and who == PRIVATE:
            known["agent"].append(agent)

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)
            print(f"  ! {text}", flush=True)

    def medians(self, measure):
        return {who: statistics.median(values) for who, values in self.measures[measure]["values"].items()}

    def ratio(self, measure, who, peer):
        """How `who` compares with `peer`; below 1 is better where less is better."""
        medians = self.medians(measure)
        if who not in medians or peer not in medians:
            return None
        floor = medians.get(NO_PROXY, 0) if self.measures[measure]["added"] else 0
        own, other = medians[who] - floor, medians[peer] - floor
        return own / other if other > 0 else None

    def table(self, peers):
        columns = [NO_PROXY, *peers, PUBLIC, PRIVATE]
        used = [column for column in columns if any(column in known["values"] for known in self.measures.values())]
        rows = [["measure", "unit", *used, "agent", *(f"private ÷ {peer}" for peer in peers[:2])]]
        for measure, known in self.measures.items():
            medians = self.medians(measure)
            agent = statistics.median(known["agent"]) if known["agent"] else None
            ratios = [self.ratio(measure, PRIVATE, peer) for peer in peers[:2]]
            cells = [figure(medians.get(column)) for column in used]
            unit = known["unit"] + (" (more is better)" if known["more_is_better"] else "")
            rows.append([measure, unit, *cells, figure(agent), *(f"{ratio:.2f}" if ratio else "" for ratio in ratios)])
        widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
        lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return "\n".join([*lines, *(f"\n{note}" for note in self.notes)])

    def write(self, directory, peers, facts):
        with open(f"{directory}/result.json", "w") as file:
            json.dump({"facts": facts, "measures": self.measures, "notes": self.notes}, file, indent=1)
        with open(f"{directory}/result.md", "w") as file:
            file.write(self.table(peers) + "\n")
        with open(f"{directory}/ratios.svg", "w") as file:
            file.write(self.plot(peers))

    def plot(self, peers):
        """Dots on a line for each measure: how many times nginx's figure each proxy needs; 1 is nginx itself."""
        colours = dict(zip([*peers, PUBLIC, PRIVATE], ["#8a8f98", "#3b6ea8", "#b58a2e", "#7a5aa6", "#5a8f5a"]))
        colours |= {PUBLIC: "#e39a6f", PRIVATE: "#c2410c"}
        base, left, right, line = peers[0], 330, 880, 26
        shown = {measure: known for measure, known in self.measures.items() if base in known["values"]}
        height = 70 + line * len(shown)
        x = lambda ratio: left + (right - left) * min(max(ratio, 0.0), 4.0) / 4.0
        parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="920" height="{height}" font-family="sans-serif" font-size="12">']
        parts.append(f'<rect width="920" height="{height}" fill="#fff"/><text x="12" y="20">Times {base} (further left is better)</text>')
        for index, (who, colour) in enumerate(colours.items()):
            parts.append(f'<circle cx="{left + index * 110}" cy="16" r="5" fill="{colour}"/><text x="{left + 9 + index * 110}" y="20">{html.escape(who)}</text>')
        for tick in (0, 0.5, 1, 1.5, 2, 3, 4):
            dash = "" if tick == 1 else ' stroke-dasharray="2 3"'
            parts.append(f'<line x1="{x(tick)}" y1="46" x2="{x(tick)}" y2="{height - 12}" stroke="#999"{dash}/><text x="{x(tick) - 4}" y="42" fill="#666">{tick}</text>')
        for index, (measure, known) in enumerate(shown.items()):
            y = 62 + line * index
            parts.append(f'<text x="12" y="{y + 4}">{html.escape(measure)}</text>')
            for who in known["values"]:
                ratio = self.ratio(measure, who, base)
                if ratio is None or who not in colours:
                    continue
                shown_ratio = 1 / ratio if known["more_is_better"] and ratio > 0 else ratio
                words = html.escape(f"{who}: {shown_ratio:.2f}")
                parts.append(f'<circle cx="{x(shown_ratio):.1f}" cy="{y}" r="5" fill="{colours[who]}"><title>{words}</title></circle>')
        return "\n".join([*parts, "</svg>", ""])


def figure(value):
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
