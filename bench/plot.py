"""A plot of ratios as SVG: a dot for each proxy in each row, and where it is better, on a logarithmic axis around nginx's 1."""

import html
import math

from measure import PRIVATE, PUBLIC

WIDTH, LEFT, RIGHT, LINE, TOP = 960, 380, 930, 24, 96
LOW, HIGH = 0.25, 8.0
COLOURS = ["#3b82c4", "#8b6fc0", "#4f9d69", "#b0892c", "#c0608f"]
OWN = "#dd5a1f"
# The same as another row, or what load and app could do.
NOT_SHOWN = (": one core, full", ": seen", ": that download")
# Light unless the reader's machine is dark.
STYLE = """
  .ground { fill: #ffffff } text { fill: #1f2328; font: 12px system-ui, sans-serif } .faint { fill: #59636e }
  .head { font-size: 15px; font-weight: 600 } .grid { stroke: #d1d9e0 } .one { stroke: #59636e; stroke-width: 1.5 }
  .band { fill: #f6f8fa } .ring { fill: none; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 } text { fill: #e6edf3 } .faint { fill: #9198a1 }
    .grid { stroke: #30363d } .one { stroke: #9198a1 } .band { fill: #151b23 }
  }
"""


def ratios(report, base="nginx"):
    """Rows that nginx is in; further left is better, whether more or less of a thing is."""
    shown = [name for name in report.ordered() if _fits(report.measures[name], base) and not name.endswith(NOT_SHOWN)]
    present = [who for who in [*report.peers, PUBLIC, PRIVATE] if any(who in report.measures[name]["values"] for name in shown)]
    colours = dict(zip([who for who in present if who not in (PUBLIC, PRIVATE, base)], COLOURS)) | {PUBLIC: OWN, PRIVATE: OWN, base: "#8b949e"}
    bottom = TOP + LINE * len(shown)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 24}" width="{WIDTH}" height="{bottom + 24}" role="img" aria-label="Ratios to {base}">']
    parts.append(f'<style>{STYLE}</style><rect class="ground" width="{WIDTH}" height="{bottom + 24}"/>')
    parts.append(f'<text class="head" x="16" y="26">Times {base}: further left is better</text>')
    parts += _legend(present, colours, PUBLIC)
    parts += [f'<rect class="band" x="0" y="{TOP + LINE * row}" width="{WIDTH}" height="{LINE}"/>' for row in range(0, len(shown), 2)]
    for tick in (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8):
        parts.append(f'<line class="{"one" if tick == 1 else "grid"}" x1="{_x(tick):.1f}" x2="{_x(tick):.1f}" y1="{TOP - 4}" y2="{bottom + 4}"/>')
        parts.append(f'<text class="faint" text-anchor="middle" x="{_x(tick):.1f}" y="{TOP - 10}">{tick:g}</text>')
    for row, name in enumerate(shown):
        y = TOP + LINE * row + LINE / 2
        parts.append(f'<text x="16" y="{y + 4}">{html.escape(name)}</text>')
        for who in present:
            parts += _dot(report, name, who, base, y, colours[who], who == PUBLIC)
    return "\n".join([*parts, "</svg>", ""])


def _fits(known, base):
    return base in known["values"] and not known["plain"]


def _legend(present, colours, ring):
    x, parts = 16, []
    for who in present:
        parts += [_mark(x + 6, 50, colours[who], who == ring), f'<text x="{x + 17}" y="54">{html.escape(who)}</text>']
        x += 36 + 7 * len(who)
    return parts


def _dot(report, name, who, base, y, colour, ring):
    ratio = report.ratio(name, who, base)
    if ratio is None or ratio <= 0:
        return []
    shown = 1 / ratio if report.measures[name]["more_is_better"] else ratio
    beyond = " (beyond the edge)" if not LOW <= shown <= HIGH else ""
    return [f"<g><title>{html.escape(who)}: {shown:.2f}{beyond}</title>{_mark(_x(shown), y, colour, ring)}</g>"]


def _mark(x, y, colour, ring):
    kind = f'class="ring" stroke="{colour}"' if ring else f'fill="{colour}"'
    return f'<circle cx="{x:.1f}" cy="{y}" r="{4.5 if ring else 5.5}" {kind}/>'


def _x(ratio):
    share = math.log(min(max(ratio, LOW), HIGH) / LOW) / math.log(HIGH / LOW)
    return LEFT + (RIGHT - LEFT) * share
