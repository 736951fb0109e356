"""Links from a chapter to the explorer, with the chapter's own choice made."""

from __future__ import annotations

import html
from collections.abc import Sequence
from urllib.parse import urlencode

from fairlib.base.tasks import TASKS
from fairlib.bias.contrasts import contrast_groups
from fairlib.corpora import is_synthetic
from fairlib.findings.survey import published
from fairlib.findings.wording import say


def explorer_link(corpus: str, encoder: str, by: str, contrast: str, tasks: Sequence[str]) -> str:
    """A paragraph of HTML that leads to the explorer with a chapter's own choice made, one link for each task; empty
    where nothing of it is published, or the explorer cannot make that choice: synthetic speech, one group against all
    others.

    Args:
        corpus, encoder: by name.
        by, contrast: the speaker column and the two groups, as `fairlib.bias.group_bias` names them.
        tasks: names of `fairlib.base.tasks.TASKS`.

    Example:
        >>> explorer_link("my.csv", "pocket-hubert", "age_group", "child vs adult", ["sid"])
        ''
        >>> explorer_link("speechocean762", "pocket-hubert", "age_group", "child vs adult", ["sid"])[-72:]
        'a.age_group=child&amp;b.age_group=adult">speaker identification</a>.</p>'
    """
    one, other = contrast_groups(contrast)
    if is_synthetic(corpus) or other is None:
        return ""
    links = []
    for task in tasks:
        if published(encoder, corpus, *TASKS[task].main).empty:
            continue
        chosen = {"corpus": corpus, "task": task, "encoder": encoder}
        chosen |= {  # ages from 6 to 9 are 6-9 there
            f"{side}.{by}": group.replace(" to ", "-") if by == "age" else group
            for side, group in (("a", one), ("b", other))
        }
        address = html.escape(f"../book/explorer.html#{urlencode(chosen)}")
        links.append(f'<a class="elsewhere" href="{address}">{TASKS[task].title}</a>')
    leads = say("explorer_link.leads", links=links)
    return f"<p>{leads}</p>" if links else ""
