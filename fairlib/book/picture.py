"""The README's picture, which no build refreshes: the first chart of speaker identification, with its data beside it.

``python -m fairlib.book.picture`` writes both; the tests refuse a picture whose data the published outcomes no longer
give.
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from fairlib.bias import group_bias
from fairlib.book.chapters import ROOT
from fairlib.book.parameters import LEAD
from fairlib.display.charts import bias_by_layer
from fairlib.display.rendering import write_png
from fairlib.display.sentences import describe_gaps, gap_title
from fairlib.files import replace
from fairlib.findings import controls, main_contrast
from fairlib.probes import probe_speakers

ENCODER, CORPUS, GROUP = LEAD, "speechocean762", "age_group"
PICTURE = ROOT / "book" / "_static" / "main_finding.png"


def picture() -> alt.LayerChart:
    """The chart; its data are in ``usermeta["csv"]``."""
    runs = [probe_speakers(name, CORPUS) for name in (ENCODER, *controls(ENCODER))]
    bias = group_bias(pd.concat(runs, ignore_index=True), by=GROUP)
    contrast = main_contrast(bias, ENCODER)
    return bias_by_layer(
        bias,
        contrast=contrast,
        title=gap_title(bias, ENCODER, contrast),
        description=describe_gaps(bias, ENCODER, contrast),
    )


if __name__ == "__main__":
    chart = picture()
    replace(PICTURE.with_suffix(".csv"), lambda path: path.write_text(chart.usermeta["csv"], encoding="utf-8"))
    print(write_png(chart, PICTURE))
