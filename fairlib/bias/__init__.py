"""Bias: what a table of outcomes says of speaker groups. Outcomes in, gaps with intervals out; no encoder, no audio.

`sums` (per-speaker sums and the one bootstrap), `gaps` (errors and gaps of groups), `profile` (whether a gap differs
between layers), `dose` (slopes on a number such as age), `inference` (intervals, nulls, multiplicity), `contrasts`
(their names), `association` (of gap and error over layers), `adjustment` (for what else differs), `power`,
`simulation`.
"""

from fairlib.bias.contrasts import BETWEEN, WORST
from fairlib.bias.dose import dose_slopes
from fairlib.bias.gaps import bias_differences, group_bias, group_errors
from fairlib.bias.inference import holm, quantiles, rate_variance, stretched_interval
from fairlib.bias.profile import gap_profile
from fairlib.bias.sums import (
    CELL,
    FEWEST_SHOWN,
    NEEDED,
    SCALES,
    BiasError,
    contrasts_between,
    contrasts_of,
    everybody,
    group_columns,
    groups_of_speakers,
    layer_order,
    link,
    only_groups,
    pool,
    random_numbers,
    slope,
    speaker_sums,
)

__all__ = [
    "BETWEEN", "CELL", "FEWEST_SHOWN", "NEEDED", "SCALES", "WORST", "BiasError", "bias_differences",
    "contrasts_between", "contrasts_of", "dose_slopes", "everybody", "gap_profile", "group_bias", "group_columns",
    "group_errors", "groups_of_speakers", "holm", "layer_order", "link", "only_groups", "pool", "quantiles",
    "random_numbers", "rate_variance", "slope", "speaker_sums", "stretched_interval",
]  # fmt: skip
