"""How a chart gets into a page: live, as a still picture, for print, in light and in dark, with its data.

A page shows the still picture at once, and the live chart once the book's own copy of Vega is there (`write_bundle`);
no chart ever asks another machine for anything. Where that copy is absent, as in plain Jupyter, the still picture
stays.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from html import escape, unescape
from pathlib import Path
from typing import Any, NamedTuple

import altair as alt
import vl_convert

STILL_WIDTH = 640  # pixels; pictures for print and for pages without scripts

# The house colours and what each becomes on a dark page (see `theme_css`); every other colour stays what it is.
DARK = {
    "#0072B2": "#5AB0EE",
    "#D55E00": "#FF8F4A",
    "#00805E": "#3CC79A",
    "#A8458A": "#E48CC6",
    "#7A6400": "#CDBB52",
    "#3D3D3D": "#C9CED6",
    "#3E8FC4": "#A5D8FF",
    "#B8860B": "#F0C35A",
    "#9A6A00": "#E3B341",
    "#1F2430": "#E8EAED",
    "#4B5563": "#B9C0CA",
    "#6B7280": "#A3ABB8",
    "#9AA1AC": "#7C8593",
    "#E7E9ED": "#2F3540",
    "#FFFFFF": "#121212",
}
_COLOUR = re.compile("|".join(DARK), re.IGNORECASE)
_VARIABLE = re.compile(r"var\(--[0-9A-F]{6},(#[0-9A-F]{6})\)")  # what `_themed` writes

# Title and notes are part of the page, where they wrap. Whoever points at a layer in one chart sees the same layer
# in all charts of the page.
_HTML = """<div class="fairlib-chart" id="{id}" role="figure" aria-labelledby="{id}-title">
<div class="fairlib-title" id="{id}-title"><strong>{title}</strong></div>
<div class="fairlib-notes"><small>{notes}</small></div>
<div class="fairlib-still">{still}</div>
{data}<script>
(function () {{
  const spec = {spec};
  function draw() {{
    const figure = document.getElementById("{id}");
    if (!figure || !window.vegaEmbed) return;
    const live = document.createElement("div");
    live.className = "fairlib-live";
    live.style.width = "100%";
    figure.querySelector(".fairlib-still").after(live);
    window.vegaEmbed(live, spec, {options})
      .then(function (drawn) {{
        figure.querySelector(".fairlib-still").remove();
        figure.dataset.drawn = "live";
        let width = live.clientWidth; // also changes when a side bar is shown or hidden, of which Vega would not know
        new ResizeObserver(function () {{
          if (live.clientWidth !== width) {{ width = live.clientWidth; window.dispatchEvent(new Event("resize")); }}
        }}).observe(live);
        if (!spec.params) return;
        const views = (window.fairlibViews = window.fairlibViews || []);
        views.push(drawn.view);
        const point = (layer) => views.forEach((view) => view.signal("pointed", layer || "").runAsync());
        drawn.view.addEventListener("mouseover", (event, item) => point(item && item.datum && item.datum.layer));
        drawn.view.addEventListener("mouseout", () => point(""));
      }})
      .catch(function (problem) {{ live.remove(); console.error(problem); }});
  }}
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", draw);
  else draw();
}})();
</script>
</div>"""
_PLACES = re.compile(r' (?:d|transform)="[^"]*"')
_LONG = re.compile(r"-?\d+\.\d{3,}(?:e-?\d+)?|-?\d+e-\d+")
_FONT = re.compile(r' font-family="[^"]*"')
_EMPTY = re.compile(r'<path [^>]*(?:d="M0,0h0v0h0Z"|display="none")[^>]*/>')
_TWICE = re.compile(r'(?<=; )value: [^;"]*; (?=[^"]*estimate: )')
_OPTIONS = {"mode": "vega-lite", "renderer": "svg", "actions": False}


def write_bundle(path: str | Path) -> Path:
    """Write Vega, Vega-Lite and Vega-Embed as one script (0.9 MB) that defines `vegaEmbed`.

    It is wrapped in a function of its own: bare, it would clash with names that Sphinx's scripts declare.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    script = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # the snippet may be left out
    temporary.write_text("(function () {\n" + script + "\n})();\n", encoding="utf-8")
    temporary.replace(path)
    return path


def theme_css() -> str:
    """Style sheet that gives charts their dark colours on dark pages; print is always light."""
    colours = "".join(f" --{light[1:]}: {dark};" for light, dark in DARK.items())
    return f'@media screen {{ html[data-theme="dark"] :is(.fairlib-chart, .sketch) {{{colours} }} }}\n'


def use_book_renderer() -> None:
    """From here on, show Altair charts as the book needs them: HTML for pages, PNG for print."""
    alt.renderers.register("fairlib", mimebundle)
    alt.renderers.enable("fairlib")


def mimebundle(spec: dict, **_: object) -> dict[str, str]:
    """A Vega-Lite specification as HTML, PNG and text; its `usermeta` may hold the data behind it as ``csv``."""
    spec = {key: value for key, value in spec.items() if key != "$schema"}
    csv = spec.pop("usermeta", {}).get("csv", "")
    printed = spec | ({"width": STILL_WIDTH} if spec.get("width") == "container" else {})
    title, notes = _title_and_notes(spec.pop("title", ""))
    still = vl_convert.vegalite_to_svg({key: value for key, value in printed.items() if key != "title"})
    text = json.dumps(printed)
    name = f"chart-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    html = _HTML.format(
        id=name,
        title=escape(title),
        notes=escape(notes),
        still=_themed(_lighter(still).replace("<svg", '<svg style="max-width:100%;height:auto"', 1)),
        data=_data_link(csv, name, title),
        spec=_themed(json.dumps(spec, separators=(",", ":"))).replace("</", "<\\/"),  # "</" would end the script early
        options=json.dumps(_OPTIONS),
    )
    return {"text/html": html, "image/png": _png(text), "text/plain": spec.get("description", title)}


def _lighter(svg: str) -> str:
    """Vega's picture without what makes a page heavier and shows nothing: places to a hundredth of a pixel in place of
    sixteen digits, the font named once, no paths that draw nothing, no opacity of 1, and, in what is read aloud, no raw
    value beside the rounded estimate.

    Example:
        >>> _lighter('<path aria-label="p: 0.0012" d="M341.87179487179486,-0.001L1e-7,2" opacity="1"/>')
        '<path aria-label="p: 0.0012" d="M341.87,0L0,2"/>'
        >>> _lighter('<path aria-label="layer: 0; value: 18.848000%; estimate: 18.8%" d="M1,0"/>')
        '<path aria-label="layer: 0; estimate: 18.8%" d="M1,0"/>'
        >>> _lighter('<svg><text font-family="Arial">a</text><text font-family="Arial">b</text></svg>')
        '<svg font-family="Arial"><text>a</text><text>b</text></svg>'
    """
    svg = _EMPTY.sub("", _TWICE.sub("", svg.replace(' opacity="1"', "")))
    if len(fonts := set(_FONT.findall(svg))) == 1:
        svg = _FONT.sub("", svg).replace("<svg", f"<svg{fonts.pop()}", 1)
    return _PLACES.sub(lambda places: _LONG.sub(lambda one: f"{round(float(one[0]), 2) + 0.0:g}", places[0]), svg)


class ReadChart(NamedTuple):
    """A chart read back from a page: its specification without title and notes, which are beside it; its data as CSV,
    empty where it carries none."""

    name: str
    title: str
    notes: str
    spec: dict[str, Any]
    csv: str


def read_chart(html: str) -> ReadChart | None:
    """The chart in a page's HTML, if `mimebundle` wrote it.

    Example:
        >>> points = alt.Chart(alt.Data(values=[{"x": 1}]), title="One point").mark_point(color="#0072B2")
        >>> chart = read_chart(mimebundle(points.encode(x="x:Q").to_dict())["text/html"])
        >>> chart.title, chart.notes, chart.spec["mark"]
        ('One point', '', {'type': 'point', 'color': '#0072B2'})
    """
    head = re.search(
        r'<div class="fairlib-chart" id="([^"]+)".*?<strong>(.*?)</strong>.*?<small>(.*?)</small>', html, re.S
    )
    spec = re.search(r"const spec = (\{.*?\});\n  function draw", html, re.S)
    if not head or not spec:
        return None
    data = re.search(r'href="data:text/csv;base64,([^"]*)"', html)
    return ReadChart(
        head[1],
        unescape(head[2]),
        unescape(head[3]),
        json.loads(_VARIABLE.sub(r"\1", spec[1])),
        base64.b64decode(data[1]).decode() if data else "",
    )


def picture(spec: dict[str, Any], kind: str) -> bytes:
    """A specification as a picture for print, as wide as the book's.

    Args:
        kind: svg, pdf (both with text as text) or png (four pixels to one of the screen's).
    """
    text = json.dumps(spec | ({"width": STILL_WIDTH} if spec.get("width") == "container" else {}))
    if kind == "svg":
        return vl_convert.vegalite_to_svg(text).encode()
    return vl_convert.vegalite_to_pdf(text) if kind == "pdf" else vl_convert.vegalite_to_png(text, scale=4)


def write_png(chart: alt.TopLevelMixin, path: str | Path) -> Path:
    """Write a chart as a picture, title and notes included, for pages that run no scripts (a README, a slide)."""
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(base64.b64decode(mimebundle(chart.to_dict())["image/png"]))
    temporary.replace(path)
    return path


def _themed(text: str) -> str:
    """House colours as style variables that fall back on themselves: the page decides which of the two is shown.

    Example:
        >>> _themed('fill="#0072B2"')
        'fill="var(--0072B2,#0072B2)"'
    """
    return _COLOUR.sub(lambda match: f"var(--{match[0][1:].upper()},{match[0].upper()})", text)


def _data_link(csv: str, name: str, title: str) -> str:
    if not csv:
        return ""
    address = "data:text/csv;base64," + base64.b64encode(csv.encode()).decode("ascii")
    told = escape(f"Data of the chart “{title}”, as CSV")
    return f'<a class="fairlib-data" download="{name}.csv" href="{address}" aria-label="{told}">Data (CSV)</a>\n'


def _title_and_notes(title: str | dict) -> tuple[str, str]:
    def joined(lines: str | list[str]) -> str:
        return lines if isinstance(lines, str) else " ".join(lines)

    if isinstance(title, dict):
        return joined(title.get("text", "")), joined(title.get("subtitle", ""))
    return joined(title), ""


def _png(spec: str) -> str:
    return base64.b64encode(vl_convert.vegalite_to_png(spec, scale=2)).decode("ascii")
