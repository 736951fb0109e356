"""A reference for slopes: the gap of the same features, with the error changed by other means than the layer."""

from __future__ import annotations

import pandas as pd

from fairlib.bias import BiasError, bias_differences
from fairlib.bias.association import ALL, FEWEST_LAYERS, error_slopes
from fairlib.findings.instrument import PASSES
from fairlib.findings.wording import estimate_of, say
from fairlib.outcomes import published_outcomes
from fairlib.probes import CharacterProbe, ProbeError, identify_among

MOVED_BY = {
    "sid": "the same layers, with more or fewer candidates",
    "asr": "log-mel, with the probe trained for longer or shorter",
}


def reference_steps(task: str, encoder: str, corpus: str, by: str, seeds: int = 5) -> pd.DataFrame:
    """Outcomes in which the steps of a reference stand for layers, and what changed the error stands for the encoder.

    Speaker identification: the encoder's own features, all layers together, among more and fewer candidates. Speech
    recognition: log-mel, by character probes that were trained for longer and shorter; as far as published.

    Args:
        task: ``sid`` or ``asr``.
        encoder, corpus, by, seeds: as `fairlib.identify_among`.

    Returns:
        Empty where a corpus does not allow it, or not enough is published.
    """
    if task == "sid":
        try:
            few = identify_among(encoder, corpus, by=[by], seeds=seeds)
        except ProbeError:
            return pd.DataFrame()
        steps = few["probe"].str.extract(r"(\d+) candidates")[0].astype(int)
        named = ["utterance_id", "speaker_id", "seed", "unit"]
        sums = few.assign(step=steps).groupby([*named, "step"])[["errors", "length"]].sum().reset_index()
        people = few.drop_duplicates("utterance_id").drop(columns=[*named[1:], "errors", "length", "layer", "probe"])
        table = sums.merge(people, on="utterance_id").assign(probe="linear")
    else:
        probes = [CharacterProbe(passes=passes).name for passes in PASSES]
        parts = [published_outcomes("logmel", corpus, task, probe).assign(step=n) for n, probe in zip(PASSES, probes)]
        table = pd.concat(parts)
        table = table[table["unit"] == "char"].assign(probe="context")
        table = table[table["seed"].isin(_at_every_step(table))]
    if table["step"].nunique() < FEWEST_LAYERS:
        return pd.DataFrame()
    return table.assign(encoder=MOVED_BY[task], task=task, layer=pd.factorize(table["step"], sort=True)[0].astype(str))


def _at_every_step(table: pd.DataFrame) -> list[int]:
    """Seeds that every step was trained from: some trainings are published from more seeds than others."""
    steps = table.groupby("seed")["step"].nunique()
    return steps.index[steps == table["step"].nunique()].tolist()


def against_reference(
    outcomes: pd.DataFrame, steps: pd.DataFrame, encoder: str, by: str, contrast: str
) -> pd.DataFrame:
    """Slopes of the log odds ratio on the error's log odds: of the encoder's layers, of the reference's steps, and the
    one less the other, the same speakers resampled in both; over all layers.

    Args:
        outcomes: of the encoder's layers, one task, unit and probe.
        steps: from `reference_steps`.

    Returns:
        Empty where there are no steps, or too few layers.
    """
    if steps.empty:
        return pd.DataFrame()
    mine = outcomes[outcomes["encoder"] == encoder]
    people = set(mine["speaker_id"]) & set(steps["speaker_id"])
    both = pd.concat([mine.assign(probe=steps["probe"].iloc[0]), steps], ignore_index=True)
    both = both[both["speaker_id"].isin(people)]
    try:
        table = error_slopes(both, by, twins={encoder: str(steps["encoder"].iloc[0])})
    except BiasError:
        return pd.DataFrame()
    return table[(table["contrast"] == contrast) & (table["scale"] == "log_odds") & (table["layers"] == ALL)]


def reference_sentence(slopes: pd.DataFrame, encoder: str) -> str:
    """What the reference's slope is, and what is left of the layers' beside it.

    Args:
        slopes: from `against_reference`; empty where there is no reference.
    """
    if slopes.empty:
        return say("reference.unpublished")
    alone, twinned = slopes[slopes["twin"].isna()].set_index("encoder"), slopes[slopes["twin"].notna()].iloc[0]
    moved = next(name for name in alone.index if name != encoder)
    slope = ("slope", "low", "high")
    return say(
        "reference.slopes", encoder=encoder, moved=moved,
        own=estimate_of(alone.loc[encoder], slope), other=estimate_of(alone.loc[moved], slope),
        beyond=estimate_of(twinned, ("excess", "excess_low", "excess_high")), p=twinned["p"],
        detectable=twinned["detectable"],
    )  # fmt: skip


def at_equal_error(encoder: str, corpus: str, by: str, contrast: str, seeds: int = 5) -> pd.DataFrame:
    """The gap of each layer less that of the convolutions at about the same error, in speaker identification.

    The layers identify a speaker among most candidates, the convolutions among fewer: as many as bring their error
    nearest to the layers' mean. The same speakers are resampled in both.

    Args:
        encoder, corpus, by, seeds: as `fairlib.identify_among`.
        contrast: of the speaker column's groups.

    Returns:
        One row a layer: `fairlib.bias.bias_differences` on the log odds scale, ``error`` of the layer, ``error_cnn``,
        ``candidates, candidates_cnn``. Empty where a corpus does not allow it or the encoder has no layer cnn.
    """
    try:
        among = identify_among(encoder, corpus, by=[by], seeds=seeds)
    except ProbeError:
        return pd.DataFrame()
    among = among.assign(step=among["probe"].str.extract(r"(\d+) candidates")[0].astype(int), probe="linear")
    sums = among.groupby(["layer", "step"])[["errors", "length"]].sum()
    error = (sums["errors"] / sums["length"]).unstack("step")
    if "cnn" not in error.index or len(error) < 2:
        return pd.DataFrame()
    most = error.columns.max()
    layers = error[most].drop("cnn")
    fewer = (error.loc["cnn"] - layers.mean()).abs().idxmin()
    sides = [
        among[(among["layer"] != "cnn") & (among["step"] == most)],
        among[(among["layer"] == "cnn") & (among["step"] == fewer)],
    ]
    pairs = [((encoder, layer), (encoder, "cnn")) for layer in layers.index]
    table = bias_differences(pd.concat(sides), by, pairs)
    table = table[(table["contrast"] == contrast) & (table["scale"] == "log_odds")]
    return table.assign(
        error=table["layer"].map(layers), error_cnn=error.loc["cnn", fewer], candidates=most, candidates_cnn=fewer
    )


def equal_error_sentence(matched: pd.DataFrame) -> str:
    """How far the layers' gaps lie from the convolutions' at about the same error, and whether any difference is
    detected."""
    if matched.empty:
        return say("reference.no_match")
    row, detected = matched.iloc[0], matched["p_holm"] < 0.05
    return say(
        "reference.equal_error", candidates=row["candidates"], candidates_cnn=row["candidates_cnn"],
        error_cnn=row["error_cnn"], errors=[matched["error"].min(), matched["error"].max()],
        gaps=[matched["estimate"].min(), matched["estimate"].max()], layers=list(matched["layer"]),
        detected=list(matched.loc[detected, "layer"]),
    )  # fmt: skip
