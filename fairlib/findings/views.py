"""Speaker identification asked in several ways, each taking away one reason for a gap that is not the voice's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from fairlib.base.writing import listing
from fairlib.bias import (
    FEWEST_SHOWN,
    BiasError,
    group_bias,
    group_columns,
    group_errors,
    groups_of_speakers,
    layer_order,
    only_groups,
)
from fairlib.bias.contrasts import people
from fairlib.corpora.labels import is_number
from fairlib.encoders.names import encoder_label
from fairlib.findings import Finding, gaps, mean_error
from fairlib.findings.cells import Cell, Number, error_of, with_interval
from fairlib.findings.finding import judged
from fairlib.findings.questions import in_bands
from fairlib.findings.rules import rule
from fairlib.findings.wording import estimate_of, say
from fairlib.probes import ProbeError, SpeakerProbe, confusions, identify_among, probe, probe_speakers, verify_speakers
from fairlib.probes.speakers import FEW, named_among

PLAIN = "as it is"
FAIRER = ("channel perturbed", "equal shares", "among a few")
_KEYS = {PLAIN: "plain", "channel perturbed": "perturbed", "equal shares": "shares", "among a few": "few"}
VIEWS_CRITERION = rule("views")


def identify_or_verify(
    encoder: str, corpus: str, by: str, seeds: int = 5, force: bool = False, how: SpeakerProbe | None = None
) -> pd.DataFrame:
    """Speaker identification; where fewer than two people have utterances enough, verification's misses instead.

    Args:
        encoder, corpus, by, seeds, force: as `speaker_views`.
        how: another probe than the usual one; its seeds are ``seeds``.

    Raises:
        ProbeError: neither can be asked of this corpus.
    """
    try:
        return probe(encoder, replace(how or SpeakerProbe(), seeds=seeds), corpus, force)
    except ProbeError as error:
        try:
            trials = verify_speakers(encoder, corpus, by=[by], force=force)
        except ProbeError:
            raise error from None
    return trials[trials["unit"] == "target"].reset_index(drop=True)


def speaker_views(encoder: str, corpus: str, by: str, seeds: int = 5, force: bool = False) -> dict[str, pd.DataFrame]:
    """Outcomes of one encoder in each view that the corpus allows, named as the book names them.

    Args:
        encoder, corpus, seeds, force: as `fairlib.probe_speakers`.
        by: the speaker column whose groups are compared.
    """
    plain = identify_or_verify(encoder, corpus, by, seeds, force)
    both: tuple[str, ...] = ("sex", "age_group")
    balance = [column for column in both if column in group_columns(plain)] or [by]
    views = {PLAIN: plain}
    asked = {
        "channel perturbed": lambda: probe_speakers(encoder, corpus, seeds=seeds, force=force, perturbed=True),
        "equal shares": lambda: probe_speakers(encoder, corpus, seeds=seeds, force=force, balance=balance),
        "among a few": lambda: _middle(identify_among(encoder, corpus, by=[by], seeds=seeds, force=force), by),
        "verification": lambda: verify_speakers(encoder, corpus, by=[by], force=force),
    }
    if is_number(plain[by]):  # candidates and pairs are of groups of people
        balance = [column for column in balance if column != by] or list(both)
        del asked["among a few"], asked["verification"]
    for name, ask in asked.items():
        try:
            views[name] = ask()
        except ProbeError:  # too few speakers, utterances or seconds in a group
            continue
    trials = views.pop("verification", None)
    if trials is not None:
        # Pairs across groups count for both sides alike: there is no gap to speak of.
        for name, unit in (("missed", "target"), ("own group", "impostor of own group")):
            views[f"verification: {name}"] = trials[trials["unit"] == unit]
    return views


def of_groups(views: list[dict[str, pd.DataFrame]], by: str, groups: Sequence[str]) -> list[dict[str, pd.DataFrame]]:
    """The views in which each of these groups has people enough to be shown, and nobody else a group.

    Args:
        views: of each encoder, from `speaker_views`.
        by: where it is a number, such as age, its bands are the groups.
    """
    banded = [in_bands(one, by) for one in views]
    kept = [{name: only_groups(outcomes, by, groups) for name, outcomes in one.items()} for one in banded]
    return [
        {
            name: outcomes for name, outcomes in one.items()
            if (groups_of_speakers(outcomes, by).value_counts().reindex(list(groups)) >= FEWEST_SHOWN).all()
        }
        for one in kept
    ]  # fmt: skip


def views_bias(views: list[dict[str, pd.DataFrame]], by: str) -> pd.DataFrame:
    """Error and gap of each encoder, view and layer: `group_bias` with the columns ``view`` and ``error``.

    A view that leaves fewer than two speakers of a group is left out.

    Args:
        views: of each encoder, from `speaker_views`.
    """
    tables = []
    for name in dict.fromkeys(name for one in views for name in one):
        outcomes = pd.concat([one[name] for one in views if name in one], ignore_index=True)
        errors = mean_error(outcomes).set_index(["encoder", "layer"])["error"]
        try:
            bias = group_bias(outcomes, by=by)
        except BiasError:
            if name == PLAIN:
                raise
            continue  # the test half holds too few speakers of a group
        error = errors.reindex(pd.MultiIndex.from_frame(bias[["encoder", "layer"]])).to_numpy()
        size = outcomes["candidates"].iloc[0] if "candidates" in outcomes else "a few"
        tables.append(bias.assign(view=name, explained=say(f"view.{name}", size=size), error=error))
    return pd.concat(tables, ignore_index=True)


def is_it_the_voice(bias: pd.DataFrame, encoder: str, contrast: str, layer: str = "") -> Finding:
    """Judge by `VIEWS_CRITERION`; ``bias`` is from `views_bias`. With ``layer``, that one is looked at instead.

    Raises:
        ValueError: the encoder has no such layer.
    """
    best = layer or _best_layer(bias, encoder, contrast)
    there = gaps(bias[bias["view"] == PLAIN], encoder, contrast)["layer"].tolist()
    if best not in there:
        raise ValueError(f"{encoder} has no layer {best!r}: it has {listing(there)}.")
    rows = []
    for view in (PLAIN, *FAIRER):
        mine = bias[(bias["view"] == view) & (bias["contrast"] == contrast)]
        if len(mine):
            rows.append(gaps(mine, encoder, contrast).set_index("layer").loc[best].to_dict() | {"layer": best})
    found = {row["view"]: row for row in rows}
    same = [
        view for view, row in found.items()
        if view != PLAIN and row["biased"] and row["estimate"] * found[PLAIN]["estimate"] > 0
    ]  # fmt: skip
    lacking = [view for view in FAIRER if view not in found]
    if found[PLAIN]["biased"] and len(same) == len(FAIRER):
        verdict = "supported"
    elif found[PLAIN]["biased"] and not same and not lacking:
        verdict = "contradicted"
    else:
        verdict = "inconclusive"
    facts = {
        "encoder": encoder, "by": str(rows[0]["by"]), "contrast": contrast, "layer": best, "asked": bool(layer),
        "gaps": {_KEYS[view]: estimate_of(row) for view, row in found.items()}, "lacking": lacking,
    }  # fmt: skip
    columns = ["view", "encoder", "layer", "contrast", "error", "estimate", "low", "high", "p_familywise", "biased"]
    evidence = [{column: row.get(column) for column in columns} for row in rows]
    finding = judged("views", verdict, facts, evidence, pd.DataFrame(rows[:1]), said="gaps")
    return replace(finding, criterion=say("views.of_layer", rule=VIEWS_CRITERION, layer=layer)) if layer else finding


def views_table(bias: pd.DataFrame, encoder: str, contrast: str, layer: str = "") -> pd.DataFrame:
    """One row per view: error and gap at the encoder's best layer (or the one that is asked for), the twin's same
    layer, and of log-mel."""
    best = layer or _best_layer(bias, encoder, contrast)
    rows = []
    for view in dict.fromkeys(bias["view"]):
        mine = bias[(bias["view"] == view) & (bias["contrast"] == contrast) & (bias["scale"] == "log_odds")]
        if mine.empty:
            continue
        row: dict[str, Any] = {"view": f"{view}\n{mine['explained'].iloc[0]}"}
        for name in dict.fromkeys(bias["encoder"]):
            at = "logmel" if name == "logmel" else best
            cell = mine[(mine["encoder"] == name) & (mine["layer"] == at)]
            label = encoder_label(name) + ("" if name == "logmel" else f", layer {best}")
            if len(cell):
                cell = cell.iloc[0]
                row[label] = Cell("error ", Number("share", cell["error"]), "\ngap ", with_interval("log odds", cell))
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def _best_layer(bias: pd.DataFrame, encoder: str, contrast: str) -> str:
    """The layer that identifies speakers best, asked plainly."""
    return gaps(bias[bias["view"] == PLAIN], encoder, contrast).set_index("layer")["error"].idxmin()


def verification_table(views: list[dict[str, pd.DataFrame]], by: str) -> pd.DataFrame:
    """Speaker verification at each encoder's layer of the lowest equal error rate: one row per encoder.

    Columns: the equal error rate over everybody, and, at its one threshold, how often two utterances of one person are
    rejected and two people of the same group are accepted as one speaker, for each group.

    Args:
        views: of each encoder, from `speaker_views`; those without verification are left out.
    """
    rows = []
    for one in views:
        if "verification: missed" not in one:
            continue
        missed = mean_error(one["verification: missed"]).set_index("layer")["error"]
        best = missed.idxmin()
        row = {
            "encoder": encoder_label(str(one["verification: missed"]["encoder"].iloc[0])),
            "layer": "all" if best == "logmel" else best,
            "equal error rate": Number("share", missed[best]),
        }
        for view, told in (("missed", "false rejections: {}"), ("own group", "false acceptances: {}")):
            trials = one[f"verification: {view}"]
            for cell in group_errors(trials[trials["layer"] == best], by).itertuples():
                row[told.format(people(by, cell.group))] = error_of(cell)
        rows.append(row)
    return pd.DataFrame(rows)


def own_group_table(outcomes: pd.DataFrame, by: str, encoder: str) -> pd.DataFrame:
    """How many of each group's errors name a speaker of the same group, and how many would by chance.

    Args:
        outcomes: of `fairlib.probe_speakers`, with the encoder and perhaps log-mel.
    """
    split = confusions(outcomes[outcomes["encoder"].isin([encoder, "logmel"])], by)
    cells = ["encoder", "layer", by]
    errors = split.groupby(cells)["errors"].sum()
    own = split[split["unit"] == "own group"].groupby(cells)
    share, chance = own["errors"].sum() / errors, own["chance"].mean()
    rows = []
    for name in dict.fromkeys(outcomes.loc[outcomes["encoder"].isin([encoder, "logmel"]), "encoder"]):
        for layer in layer_order(share[name].index.unique(0)):
            row: dict[str, Any] = {"encoder": encoder_label(name), "layer": "all" if layer == "logmel" else layer}
            for group in share[name, layer].index:
                cell = (name, layer, group)
                row[f"errors of {people(by, group)}"] = Cell(
                    Number("share", share[cell]), "\nby chance ", Number("share", chance[cell])
                )
            rows.append(row)
    return pd.DataFrame(rows)


def other_speaker_probes(encoders: Sequence[str], corpus: str) -> dict[str, pd.DataFrame]:
    """Outcomes of a larger probe and of one whose training labels are shuffled, one seed each, as `controls_table`
    takes them.

    Raises:
        ProbeError: too few utterances of anybody.
    """
    settings: dict[str, dict[str, Any]] = {
        "with a hidden layer": {"probe": "hidden"}, "trained on shuffled names": {"shuffled": True}
    }  # fmt: skip
    return {
        name: pd.concat([probe_speakers(encoder, corpus, seeds=1, **how) for encoder in encoders], ignore_index=True)
        for name, how in settings.items()
    }


def controls_table(tables: dict[str, pd.DataFrame], code: pd.DataFrame | None = None) -> pd.DataFrame:
    """What probes of other kinds make of each layer: one row per encoder and layer.

    Args:
        tables: outcomes of probes by what to call them ("linear probe", "shuffled labels", ...).
        code: from `fairlib.description_length`, of the same encoders.
    """
    columns = {
        name: ("share", mean_error(rows).set_index(["encoder", "layer"])["error"]) for name, rows in tables.items()
    }
    if code is not None:
        sums = code.groupby(["probe", "encoder", "layer"])[["errors", "length"]].sum()
        bits = (sums["errors"] / sums["length"] / 1000).unstack("probe")
        columns["bits per speaker label"] = "size", bits["online code"]
        columns["bits without any layer"] = "size", bits["uniform code"]
    table = pd.DataFrame({name: values.map(partial(Number, kind)) for name, (kind, values) in columns.items()})
    encoders = dict.fromkeys(next(iter(tables.values()))["encoder"])
    order = [(encoder, layer) for encoder in encoders for layer in layer_order(table.loc[encoder].index)]
    table = table.loc[order].reset_index()
    table["encoder"] = table["encoder"].map(encoder_label)
    return table.assign(layer=table["layer"].replace("logmel", "all"))


def _middle(outcomes: pd.DataFrame, by: str, most: int = 50) -> pd.DataFrame:
    """Of several numbers of candidates, the largest of at most ``most``, else the smallest; with ``candidates``."""
    named = {named_among(size, by, SpeakerProbe()): size for size in FEW}
    sizes = outcomes["probe"].map(named).astype(int)
    small = sizes[sizes <= most]
    chosen = small.max() if len(small) else sizes.min()
    return outcomes[sizes == chosen].assign(candidates=chosen).reset_index(drop=True)
