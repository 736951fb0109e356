"""Who the speakers of a corpus are, and what their groups differ in beside what they are compared by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from fairlib.base.writing import percent
from fairlib.bias import FEWEST_SHOWN, BiasError, group_columns, groups_of_speakers
from fairlib.bias.contrasts import SCALE_WORDS, contrast_groups
from fairlib.bias.power import smallest_gaps
from fairlib.corpora import is_synthetic, load_corpus, speaker_columns
from fairlib.corpora.audio import audio_header
from fairlib.corpora.recordings import recording_noise
from fairlib.encoders.names import encoder_label
from fairlib.findings import Finding, mean_error
from fairlib.findings.cells import Cell, Number
from fairlib.findings.finding import judged
from fairlib.findings.questions import group_sizes, leading, left_out
from fairlib.findings.rules import NUMBERS
from fairlib.findings.wording import say
from fairlib.outcomes import anything_published
from fairlib.probes import description_length, probe_characters

NEGLIGIBLE, LARGE = NUMBERS["negligible"], NUMBERS["large"]
_MEASURED = {
    "seconds": ("utterance length", "{:.1f}", "s"),
    "characters": ("text length", "{:.0f}", "characters"),
    "rate": ("speaking rate", "{:.1f}", "characters a second"),
    "snr_db": ("speech over noise", "{:.0f}", "dB"),
    "age": ("age", "{:.0f}", "years"),
    "khz": ("sampling rate", "{:.1f}", "kHz"),
}


def speakers_of(corpus: str) -> pd.DataFrame:
    """`speaker_table` of a corpus, from published outcomes of log-mel; where there are none, from the corpus itself.

    Where its audio has several sampling rates, ``khz`` holds each speaker's mean.
    """
    if not all(anything_published("logmel", corpus, task, 0) for task in ("sid", "asr")):
        table = load_corpus(corpus)
        texts = table[table["text"].notna()]
        speakers = speaker_table(table, texts.assign(length=texts["text"].str.len()), recording_noise(table))
        if len(table.attrs.get("sample_rates", {})) > 1:
            rates = pd.Series([audio_header(path)[1] / 1000 for path in table["path"]])
            speakers["khz"] = rates.groupby(table["speaker_id"]).mean()
        return speakers
    utterances = description_length("logmel", corpus, task="sid", seeds=1)  # its probes pass over all utterances
    transcribed = probe_characters("logmel", corpus).query("unit == 'char'")
    return speaker_table(utterances, transcribed, recording_noise(corpus))


def speaker_table(utterances: pd.DataFrame, transcribed: pd.DataFrame, noise: Mapping[str, float]) -> pd.DataFrame:
    """One row a speaker: what is recorded of them, how much they say, and how their recordings are on average.

    Args:
        utterances: outcomes, of one probe, over all utterances of a corpus; or a corpus table.
        transcribed: outcomes in characters, or another table with the ``length`` of the text; of other speakers the
            text is not known here, and stays missing.
        noise: speech over noise of each utterance, in decibels (`fairlib.corpora.recordings.recording_noise`).

    Returns:
        Speaker columns, ``utterances, seconds`` (mean), ``snr_db`` (mean), ``characters`` (mean), ``rate`` (a second).
    """
    said = utterances.drop_duplicates("utterance_id")
    known = [column for column in speaker_columns(said) if said[column].notna().any()]
    table = said.groupby("speaker_id")[known].first()
    table["utterances"] = said.groupby("speaker_id").size()
    table["seconds"] = said.groupby("speaker_id")["duration_s"].mean()
    table["snr_db"] = said["utterance_id"].map(noise).groupby(said["speaker_id"]).mean()
    texts = transcribed.drop_duplicates("utterance_id").groupby("speaker_id")
    table["characters"] = texts["length"].mean()
    table["rate"] = texts["length"].sum() / texts["duration_s"].sum()
    return table


def corpus_sentence(speakers: pd.DataFrame, corpus: str) -> str:
    """How much speech a page is made from, and of whom.

    Args:
        speakers: from `speaker_table`.

    Example:
        >>> corpus_sentence(pd.DataFrame({"utterances": [2, 4], "seconds": [30.0, 15.0]}), "mine.csv")
        'This page is based on 2 speakers, 6 utterances and 2 minutes.'
    """
    minutes = (speakers["utterances"] * speakers["seconds"]).sum() / 60
    facts = {"people": len(speakers), "utterances": f"{speakers['utterances'].sum():,}", "minutes": f"{minutes:.0f}"}
    return say(f"speakers.{'synthetic' if is_synthetic(corpus) else 'recorded'}", **facts)


def differences(speakers: pd.DataFrame, by: str, contrast: str) -> pd.DataFrame:
    """How far two groups' means lie apart, in deviations between speakers, for all but what they are compared by.

    The distance is the standardised mean difference of Austin (2009, Statistics in Medicine 28:3083-3107), which does
    not grow with the number of speakers as a test's statistic would; of a recorded category its most frequent value
    counts. Its interval is Welch's, of the difference of the means.

    Args:
        speakers: from `speaker_table`.
        contrast: "child vs adult", or "one vs all others".

    Returns:
        ``name, first, second`` (means, as text), ``estimate, low, high, n_speakers_a, n_speakers_b``, the furthest
        apart first: infinitely where nobody differs from the rest of the group and yet the groups do.

    Example:
        >>> speakers = pd.DataFrame({"age_group": ["child"] * 3 + ["adult"] * 3, "seconds": [1.0, 2, 3, 4, 5, 6]})
        >>> differences(speakers, "age_group", "child vs adult")["estimate"].tolist()
        [-3.0]
    """
    columns = ["name", "first", "second", "estimate", "low", "high", "n_speakers_a", "n_speakers_b"]
    if by not in speakers or not contrast:
        return pd.DataFrame(columns=columns)
    group, rival = contrast_groups(contrast)
    of_speakers = speakers[by].map(str, na_action="ignore")
    belongs = of_speakers == group
    beside = (of_speakers == rival) if rival is not None else of_speakers.notna() & ~belongs
    same = {"age", "age_group"} if by in ("age", "age_group") else {by}  # one thing recorded twice
    values: dict[str, tuple[pd.Series, Callable[[float], str], str]] = {
        name: (speakers[column], form.format, f"\N{NO-BREAK SPACE}{unit}")
        for column, (name, form, unit) in _MEASURED.items()
        if column in speakers and column not in same
    }
    for column in speaker_columns(speakers):
        if column not in same | {"age"} and speakers[column].nunique() > 1:
            common = speakers[column].mode()[0]
            share = (speakers[column] == common).where(speakers[column].notna()).astype(float)
            name = f"share recorded as {common}"
            name += f" ({column.replace('_', ' ')})" if name in values else ""  # "yes" may answer two questions
            values[name] = (share, percent, "")
    rows = []
    for name, (column, text, unit) in values.items():
        one, other = column[column.notna() & belongs], column[column.notna() & beside]
        if min(len(one), len(other)) < 2:
            continue
        pooled, apart = np.sqrt((one.var() + other.var()) / 2), one.mean() - other.mean()
        if pooled > 0:
            low, high = (end / pooled for end in stats.ttest_ind(one, other, equal_var=False).confidence_interval())
            distance = apart / pooled
        elif apart:  # all of one group are one thing and all of the other another, farther apart than any deviations
            distance = low = high = np.copysign(np.inf, apart)
        else:
            continue
        rows.append(
            {
                "name": name, "first": text(one.mean()), "second": text(other.mean()) + unit,
                "estimate": distance, "low": low, "high": high,
                "n_speakers_a": len(one), "n_speakers_b": len(other),
            }
        )  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values("estimate", key=lambda column: -column.abs(), ignore_index=True)


def main_contrast_of(speakers: pd.DataFrame, by: str) -> str:
    """The contrast that a chapter leads with, by the number of people alone; empty where no two groups have enough.

    Args:
        speakers: from `speaker_table`.
    """
    sizes = group_sizes(speakers.rename_axis("speaker_id").reset_index(), by)
    return leading({group: size for group, size in sizes.items() if size >= FEWEST_SHOWN}, by)


def are_they_alike(apart: pd.DataFrame, by: str, contrast: str) -> Finding:
    """Judge by the rule "alike"; ``apart`` is from `differences`."""
    beyond = apart[(apart["low"] > NEGLIGIBLE) | (apart["high"] < -NEGLIGIBLE)]
    facts = {
        "by": by, "contrast": contrast, "least": FEWEST_SHOWN,
        "apart": beyond[["name", "first", "second"]].to_dict("records"),
    }  # fmt: skip
    if not contrast:
        return judged("alike", "inconclusive", facts, [], said="no_groups")
    if apart.empty:
        verdict, said = "inconclusive", "nothing"
    elif len(beyond):
        verdict, said = "contradicted", ""
    else:
        verdict = "supported" if (apart[["low", "high"]].abs() <= LARGE).all(axis=None) else "inconclusive"
        said = ""
    largest = apart if apart.empty else apart.nlargest(1, "n_speakers_a")
    return judged("alike", verdict, facts, apart.to_dict("records"), largest, said)


def recorded_table(speakers: pd.DataFrame) -> pd.DataFrame:
    """What is recorded of the speakers and of how many, as text for reading."""
    rows = []
    for column in speaker_columns(speakers):
        known = speakers[column].dropna()
        if pd.api.types.is_numeric_dtype(known):
            values = f"{known.min():.0f} to {known.max():.0f}"
        else:
            counts = known.value_counts()
            shown = [f"{value} ({count})" for value, count in counts.head(8).items()]
            values = ", ".join(shown) + (f" and {len(counts) - 8} more" if len(counts) > 8 else "")
        rows.append({"recorded": column.replace("_", " "), "speakers": len(known), "values": values})
    return pd.DataFrame(rows, columns=["recorded", "speakers", "values"])


def sizes_table(speakers: pd.DataFrame, columns: Sequence[str], min_speakers: int = FEWEST_SHOWN) -> pd.DataFrame:
    """People and speech in each group of the columns, of their intersections and of bands of ten years."""
    groupings = {column.replace("_", " "): speakers[column] for column in columns}
    if len(columns) > 1:
        known = speakers[list(columns)].dropna().astype(str)
        groupings[" × ".join(column.replace("_", " ") for column in columns)] = known.agg(" × ".join, axis=1)
    if "age" in speakers and pd.api.types.is_numeric_dtype(speakers["age"]):
        decade = speakers["age"].dropna() // 10 * 10
        groupings["age"] = decade.map(lambda start: f"{start:.0f} to {start + 9:.0f} years")
    rows = []
    for name, groups in groupings.items():
        groups = groups.dropna()
        if name == "age":
            order = groups.loc[speakers.loc[groups.index, "age"].sort_values().index].unique()
        else:
            groups = groups.map(str)
            order = sorted(groups.unique())
        for group in order:
            mine = speakers.loc[groups.index[groups == group]]
            few = len(mine) < min_speakers
            rows.append(
                {
                    "by": name,
                    "group": group,
                    "people": Cell(len(mine), "\ntoo few to compare") if few else len(mine),
                    "utterances": int(mine["utterances"].sum()),
                    "minutes": round((mine["utterances"] * mine["seconds"]).sum() / 60),
                }
            )
    return pd.DataFrame(rows, columns=["by", "group", "people", "utterances", "minutes"])


def smallest_table(outcomes: Mapping[str, pd.DataFrame], encoder: str, by: str | None = None) -> pd.DataFrame:
    """Smallest gap that would show in each task, for each contrast of the recorded columns and their intersection.

    Args:
        outcomes: of the encoder, by what to call the task; taken at the layer with the lowest error.
        by: one column, in place of all.

    Returns:
        One row a contrast and task; ``points`` and ``log_odds`` hold the smallest gaps.
    """
    rows = []
    for task, mine in outcomes.items():
        error = mean_error(mine)
        best = error.loc[error["error"].idxmin()]
        layer = "" if encoder == "logmel" else f"\nlayer {best['layer']}"
        mine = mine[mine["layer"] == best["layer"]]
        columns = [by] if by else group_columns(mine, FEWEST_SHOWN)
        for column in [*columns, *([columns] if len(columns) > 1 else [])]:
            try:
                gaps = smallest_gaps(_large_enough(mine, column), column, speakers=[]).set_index(["contrast", "scale"])
            except BiasError:  # too finely divided: groups of one speaker each
                continue
            for contrast in gaps.index.unique(0):
                row = gaps.loc[contrast, "difference"]
                rows.append(
                    {
                        "contrast": contrast,
                        "task": task,
                        "people": f"{row['n_speakers_a']} vs {row['n_speakers_b']}",
                        f"error of {encoder_label(encoder)}": Cell(Number("share", best["error"]), layer),
                        "points": 100 * row["smallest"],
                        "log_odds": gaps.loc[(contrast, "log_odds"), "smallest"],
                    }
                )
    about = f"error of {encoder_label(encoder)}"
    table = pd.DataFrame(rows, columns=["contrast", "task", "people", about, "points", "log_odds"])
    order = list(dict.fromkeys(table["contrast"]))
    return table.sort_values("contrast", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)


def _large_enough(outcomes: pd.DataFrame, by: str | Sequence[str]) -> pd.DataFrame:
    """Outcomes of the people whose group, or whose intersection of groups, has enough of them."""
    groups = groups_of_speakers(outcomes, by)
    sizes = groups.value_counts()
    kept = groups.index[groups.isin(sizes.index[sizes >= FEWEST_SHOWN])]
    return outcomes[outcomes["speaker_id"].isin(kept)]


def smallest_sentence(smallest: pd.DataFrame, by: str, contrast: str) -> str:
    """How large a gap would have to be to show, for one contrast of `smallest_table` and each of its tasks."""
    if not contrast or smallest.empty:
        return ""
    mine = smallest[smallest["contrast"] == contrast].set_index("task")["points"]
    shown = {str(task): value for task, value in mine.items() if value <= 100}
    too_few = [str(task) for task in mine.index[mine > 100]]
    return say("speakers.smallest", by=by, contrast=contrast, shown=shown, too_few=too_few)


def written(smallest: pd.DataFrame) -> pd.DataFrame:
    """`smallest_table` as pages show it."""
    numbers = {
        "smallest difference, points": smallest["points"].map(lambda points: Number("least points", points)),
        f"smallest {SCALE_WORDS['log_odds']}": smallest["log_odds"].map(lambda value: Number("size", value)),
    }
    return smallest.drop(columns=["points", "log_odds"]).assign(**numbers)


def cannot_be_told(speakers: pd.DataFrame, by: str, least_utterances: int) -> list[str]:
    """What these speakers cannot show about their groups, one sentence each; empty if nothing stands out.

    Args:
        speakers: from `speaker_table`.
        by: the speaker column that they are compared by.
        least_utterances: what a probe of speakers needs of each.

    Example:
        >>> speakers = pd.DataFrame({"region": ["north", "north", None], "utterances": [2, 9, 9]})
        >>> cannot_be_told(speakers, "region", least_utterances=4)[1]
        'For 1 of 3 speakers region is not recorded; they are in no comparison.'
    """
    lines = left_out(speakers.rename_axis("speaker_id").reset_index(), by)
    few = int((speakers["utterances"] < least_utterances).sum())
    if few:
        lines.append(say("speakers.few_utterances", few=few, people=len(speakers), least=least_utterances))
    return lines + ([say("speakers.rates")] if "khz" in speakers else [])


def too_few_errors(smallest: pd.DataFrame, encoder: str) -> list[str]:
    """In which tasks an encoder errs too rarely for any gap to be judged, a sentence each.

    Args:
        smallest: from `smallest_table`, of the encoder.
    """
    tasks = smallest.loc[smallest["points"].isna(), "task"].unique()
    return [say("speakers.few_errors", task=task, encoder=encoder) for task in tasks]
