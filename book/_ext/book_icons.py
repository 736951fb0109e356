"""The sixteen icons that the pages show, in place of the theme's icon font of one and a half megabytes.

When the book is written, the icons that its pages name are cut out of the theme's own script into one style sheet, and
the script, its map and its fonts are left out.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from urllib.parse import quote

from sphinx.application import Sphinx

SCRIPT = re.compile(r"\s*<(?:script|link)\b[^>]*fontawesome\.js[^>]*>(?:</script>)?")
NAMED = re.compile(r"\bfa-([a-z][a-z0-9-]*)")
# An icon in the theme's script: its names, width, height, code point and outline.
OUTLINE = r'[{{,]"?{name}"?:\[(\d+),(\d+),\[[^\]]*\],"[0-9a-f]+","([^"]+)"\]'
HEAD = "/* Icons: Font Awesome Free by @fontawesome, https://fontawesome.com, CC BY 4.0. */\n"
LOOK = """.fa-solid, .fa-regular, .fa-brands {
  display: inline-block;
  width: 1em;
  height: 1em;
  vertical-align: -0.125em;
  background: currentColor;
  -webkit-mask: var(--icon) center / contain no-repeat;
  mask: var(--icon) center / contain no-repeat;
}
.fa-solid::before, .fa-regular::before, .fa-brands::before { content: none !important; }
.fa-lg { font-size: 1.25em; }
@media (forced-colors: active) { .fa-solid { background: CanvasText; } }
"""


def icons_css(pages: list[str], script: str) -> str:
    """Style rules for the icons that these pages name, with the outlines that the theme's script holds."""
    rules = []
    for name in sorted({name for page in pages for name in NAMED.findall(page)}):
        found = re.search(OUTLINE.format(name=re.escape(name)), script)
        if found is None:
            continue  # a size or a style, no icon
        width, height, outline = found.groups()
        drawn = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"><path d="{outline}"/></svg>'
        rules.append(
            f'.fa-{name} {{ --icon: url("data:image/svg+xml,{quote(drawn, safe="/ =:")}"); }}\n'.replace("%22", "'")
        )
    return HEAD + LOOK + "".join(rules)


def replace_icons(app: Sphinx, error: Exception | None) -> None:
    """Write `icons.css` in place of the theme's script, once all pages are there."""
    static = Path(app.outdir) / "_static"
    script = static / "scripts" / "fontawesome.js"
    if error is not None or app.builder.format != "html" or not script.exists():
        return
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(Path(app.outdir).rglob("*.html"))}
    css = icons_css(list(pages.values()), script.read_text(encoding="utf-8"))
    (static / "icons.css").write_text(css, encoding="utf-8")
    for path, text in pages.items():
        path.write_text(SCRIPT.sub("", text), encoding="utf-8")
    for left in static.glob("scripts/fontawesome.js*"):
        left.unlink()
    shutil.rmtree(static / "vendor" / "fontawesome", ignore_errors=True)


def setup(app: Sphinx) -> dict:
    app.add_css_file("icons.css")
    app.connect("build-finished", replace_icons)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
