"""Synthetic voices with known disadvantages: which of them the errors show."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from fairlib.base.tasks import task_named
from fairlib.bias import group_bias
from fairlib.bias.contrasts import contrast_groups
from fairlib.corpora.synthetic import PLANTED
from fairlib.encoders.names import encoder_label
from fairlib.findings.cells import numbers


def voices_table(errors: pd.DataFrame) -> pd.DataFrame:
    """Error of each group of the planted corpus, with its interval, a column for each task and encoder.

    Args:
        errors: from `fairlib.bias.group_errors`, one layer of each encoder.
    """
    task, encoder = errors["task"].map(lambda name: task_named(name).title), errors["encoder"].map(encoder_label)
    cells = numbers("share", errors["error"], errors["low"], errors["high"])
    wide = errors.assign(what=task + ", " + encoder, cell=cells).pivot(index="group", columns="what", values="cell")
    wide = wide.reindex(list(PLANTED)).reset_index()
    return wide.assign(group=wide["group"].map(_in_words))


def layers_that_show(outcomes: pd.DataFrame, groups: Sequence[str], whichever_way: bool = False) -> pd.DataFrame:
    """At how many layers each group has more errors than the voices that were left alone, by the family-wise p.

    Args:
        outcomes: of one encoder; of several tasks, one unit each.
        groups: of the planted corpus.
        whichever_way: count the layers at which a group has fewer errors, too.

    Returns:
        ``task, disadvantage, layers that show it, layers``.
    """
    rows = []
    for task, of_task in outcomes.groupby("task", sort=False):
        for group in groups:
            bias = group_bias(of_task[of_task["group"].isin(["clear", group])], "group").query("scale == 'difference'")
            # Signs follow the names' order: turn them so that a disadvantage is positive.
            sign = 1 if contrast_groups(bias["contrast"].iloc[0])[0] == group else -1
            shown = (bias["p_familywise"] < 0.05) & (whichever_way | (sign * bias["estimate"] > 0))
            rows.append([task_named(str(task)).title, _in_words(group), int(shown.sum()), len(bias)])
    return pd.DataFrame(rows, columns=["task", "disadvantage", "layers that show it", "layers"])


def _in_words(group: str) -> str:
    return group.replace("_", " ")
