"""Two pictures of the main finding, which no build refreshes, with their data beside them: the README's, of the gap,
and the card that is shown where somebody shares the book's address, of the errors.

``python -m fairlib.book.picture`` writes both; the tests refuse pictures whose data the published outcomes no longer
give.
"""

from __future__ import annotations

import functools
import json
import textwrap
from pathlib import Path

import altair as alt
import pandas as pd
import vl_convert

from fairlib.base.files import replace, write_text
from fairlib.bias import group_bias, group_errors
from fairlib.book.chapters import ROOT
from fairlib.book.parameters import LEAD
from fairlib.display.charts import bias_by_layer, error_by_layer
from fairlib.display.rendering import write_png
from fairlib.display.sentences import describe_errors, describe_gaps, gap_title, in_one_sentence
from fairlib.findings import controls, main_contrast
from fairlib.findings.where import do_layers_differ
from fairlib.probes import probe_speakers

ENCODER, CORPUS, GROUP = LEAD, "speechocean762", "age_group"
PICTURE = ROOT / "book" / "_static" / "main_finding.png"
CARD = ROOT / "book" / "_static" / "social_card.png"
CARD_SIZE = (1200, 630)  # pixels, as messengers and search engines ask for


@functools.cache
def _facts() -> tuple[pd.DataFrame, pd.DataFrame, str]:
    outcomes = pd.concat([probe_speakers(name, CORPUS) for name in (ENCODER, *controls(ENCODER))], ignore_index=True)
    bias = group_bias(outcomes, by=GROUP)
    return outcomes, bias, main_contrast(bias, ENCODER)


def picture() -> alt.LayerChart:
    """The gap at every layer, beside two controls; its data are in ``usermeta["csv"]``."""
    _, bias, contrast = _facts()
    return bias_by_layer(
        bias,
        contrast=contrast,
        title=gap_title(bias, ENCODER, contrast),
        description=describe_gaps(bias, ENCODER, contrast),
    )


def card() -> alt.LayerChart:
    """The errors of both groups at every layer, under the answer in one sentence, as the book's first page has them."""
    outcomes, bias, contrast = _facts()
    errors = group_errors(outcomes, by=GROUP)
    where = do_layers_differ(outcomes, GROUP, ENCODER, contrast)
    return error_by_layer(
        errors,
        encoder=ENCODER,
        title=in_one_sentence(errors, bias, ENCODER, contrast, where).partition(". ")[0] + ".",  # the rest is too long
        description=describe_errors(errors, ENCODER),
    )


def card_png(chart: alt.LayerChart) -> bytes:
    """The card as a PNG of `CARD_SIZE`: half as many units of the chart, drawn at twice their size."""
    spec = chart.to_dict()
    width, height = (side // 2 for side in CARD_SIZE)
    said = textwrap.wrap(" ".join(spec["title"]["text"]), 62, break_on_hyphens=False)
    spec["title"] |= {"text": said, "offset": 10, "fontSize": 17, "lineHeight": 21}
    spec |= {"width": width, "height": height, "background": "white", "padding": 16}
    spec["autosize"] = {"type": "fit", "contains": "padding"}
    return vl_convert.vegalite_to_png(json.dumps(spec), scale=2)


def card_words(chart: alt.LayerChart) -> str:
    """What somebody who cannot see the card should know: the answer, and what the chart shows."""
    spec = chart.to_dict()
    return f"{' '.join(spec['title']['text'])} {spec['description']}"


if __name__ == "__main__":
    for file, chart in ((PICTURE, picture()), (CARD, card())):
        write_text(file.with_suffix(".csv"), chart.usermeta["csv"])
        if file == PICTURE:
            write_png(chart, file)
        else:
            replace(file, functools.partial(Path.write_bytes, data=card_png(chart)))
            write_text(file.with_suffix(".txt"), card_words(chart) + "\n")
        print(file)
