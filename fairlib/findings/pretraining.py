"""When a gap opens along an encoder's pretraining, and whether other speech would have kept it smaller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fairlib.base.tasks import TASKS
from fairlib.bias import bias_differences, group_bias, layer_order
from fairlib.corpora import CORPORA
from fairlib.encoders import (
    EncoderError,
    our_encoders,
    pretraining_data,
    pretraining_log,
    published_steps,
    started_from,
)
from fairlib.encoders.names import SECOND_SEED, parsed, untrained_twin
from fairlib.findings import Finding, gaps, mark_saturated, mean_error
from fairlib.findings.encoder_gap import side_of
from fairlib.findings.finding import judged
from fairlib.findings.layers import layer_errors
from fairlib.findings.rules import MARGIN, rule
from fairlib.findings.survey import published, published_twin
from fairlib.findings.wording import estimate_of, say
from fairlib.probes import SpeakerProbe

# Along pretraining, speakers were identified by a probe that stops early, and most weights along the way are not there
# any more to be probed to the optimum. So all that is compared along a training stops early alike.
EARLY = SpeakerProbe(iterations=20)
UNTRAINED = -1  # the step of an untrained twin, which stands before the first where that is not the beginning

WHEN_CRITERION = rule("when")
CAUSE_CRITERION = rule("cause")


def outcomes_along(encoder: str, ask: Callable[[str], pd.DataFrame]) -> dict[int, pd.DataFrame]:
    """Outcomes at the steps of an encoder's pretraining that are at hand, its end last.

    Where none is at hand, the untrained twin stands for the beginning.

    Args:
        ask: gives the outcomes of an encoder by its name, such as "pocket-hubert@400".
    """
    found = {}
    for step in published_steps(encoder):
        try:
            found[step] = ask(f"{encoder}@{step}")
        except EncoderError:  # these weights do not ship, and nothing is published of them on this corpus
            continue
    return (found or {UNTRAINED: ask(untrained_twin(encoder))}) | {_end(encoder, found): ask(encoder)}


def by_step(outcomes: pd.DataFrame, encoder: str) -> dict[int, pd.DataFrame]:
    """What `outcomes_along` gave, by step again, from one table of all of it; log-mel's outcomes are left out.

    Example:
        >>> table = pd.DataFrame({"encoder": ["pocket-hubert@400", "pocket-hubert", "logmel"], "errors": 1})
        >>> list(by_step(table, "pocket-hubert"))
        [400, 10000]
    """
    named = {name: mine for name, mine in outcomes.groupby("encoder", sort=False) if name not in ("logmel", encoder)}
    steps = {UNTRAINED if (step := parsed(str(name)).step) is None else step: mine for name, mine in named.items()}
    return steps | {_end(encoder, steps): outcomes[outcomes["encoder"] == encoder]}


def _end(encoder: str, steps: Iterable[int]) -> int:
    """The last step of an encoder's pretraining, which comes after these."""
    log = pretraining_log(encoder)
    return int(log["step"].iloc[-1]) if log is not None else max(steps, default=0) + 1


def published_along(corpus: str, task: str) -> dict[str, dict[int, pd.DataFrame]]:
    """What is published of every encoder of ours along its pretraining, from before its first step: by encoder,
    outcomes by step, its end last.

    An encoder that was trained once more from another seed, and watched then, has that training beside its own. Where
    the convolutions began trained (`started_from`), the untrained twin stands before the first step.

    Args:
        task: a key of `fairlib.base.tasks.TASKS`, whose main probe and unit are taken (speakers' stops early: `EARLY`).

    Example:
        >>> list(published_along("speechocean762", "phone")["pocket-hubert"])
        [0, 400, 1600, 6400, 10000]
    """
    found: dict[str, dict[int, pd.DataFrame]] = {}
    which = (*TASKS[task].main[:2], EARLY.name) if task == "sid" else TASKS[task].main
    for name in our_encoders():
        log = pretraining_log(name)
        for one in (name, f"{name}{SECOND_SEED}"):
            tables = {step: published(f"{one}@{step}", corpus, *which) for step in published_steps(one)}
            if one == name and log is not None:
                tables[int(log["step"].iloc[-1])] = published(name, corpus, *which)
            tables = {step: table for step, table in tables.items() if len(table)}
            if log is not None and {0, int(log["step"].iloc[-1])} <= set(tables):
                twin = {UNTRAINED: published_twin(name, corpus, *which)} if started_from(name) else {}
                found[one] = twin | tables
    return found


def hours_heard(encoder: str) -> dict[int, float]:
    """Hours of speech that an encoder of ours had heard by each logged step, with those of the encoder that lent it its
    convolutions; of others, only that it began with none.

    Example:
        >>> round(hours_heard("pocket-hubert")[400], 1), hours_heard("pocket-hubert")[UNTRAINED]
        (1.8, 0.0)
    """
    name = parsed(encoder).plain  # another seed draws other speech, and as much of it
    log, before = pretraining_log(name), 0.0
    if log is None:
        return {UNTRAINED: 0.0}
    if lender := started_from(name):
        before = max(hours_heard(lender).values())
    return {UNTRAINED: 0.0, 0: before} | dict(zip(log["step"], before + log["hours_heard"]))


def hours_at(encoder: str, steps: list[int]) -> dict[int, str]:
    """What to call each step: the hours of speech heard by then, or only which is the first and which the last.

    Example:
        >>> list(hours_at("pocket-hubert", [0, 10000]).values())
        ['0\xa0h', '44\xa0h']
    """
    heard = hours_heard(encoder)
    if len(heard) == 1:
        return {step: "untrained" if step == UNTRAINED else "trained" for step in steps}
    return {
        step: f"{heard[step]:.{1 if 0 < heard[step] < 10 else 0}f}\N{NO-BREAK SPACE}h"
        for step in steps
        if step in heard
    }


def map_along(outcomes: Mapping[int, pd.DataFrame], by: str, contrast: str) -> pd.DataFrame:
    """Error and gap of every layer at every step.

    Returns:
        One row a step and layer: ``step, layer, error, error_low, error_high, saturated``, and ``estimate, low, high,
        biased`` of the contrast's log odds ratio (family-wise over the layers of a step).
    """
    tables = []
    for step, mine in sorted(outcomes.items()):
        gap = gaps(mark_saturated(group_bias(mine, by=by), mine), str(mine["encoder"].iloc[0]), contrast)
        error = layer_errors(mine).rename(columns={"low": "error_low", "high": "error_high"}).set_index("layer")
        columns = ["layer", "estimate", "low", "high", "biased", "saturated", "by", "n_speakers_a", "n_speakers_b"]
        tables.append(gap[columns].assign(step=step).join(error[["error", "error_low", "error_high"]], on="layer"))
    return pd.concat(tables, ignore_index=True)


def since_the_start(outcomes: Mapping[int, pd.DataFrame], by: str) -> pd.DataFrame:
    """How much each layer's gap changed from the first step to the last, in pairs (`bias_differences`)."""
    first, last = (outcomes[step].drop(columns="encoder").assign(encoder=name) for step, name in _ends(outcomes))
    layers = layer_order(last["layer"].unique())
    pairs = [(("end", layer), ("start", layer)) for layer in layers]
    return bias_differences(pd.concat([first, last], ignore_index=True), by, pairs)


def _ends(outcomes: Mapping[int, pd.DataFrame]) -> list[tuple[int, str]]:
    return [(min(outcomes), "start"), (max(outcomes), "end")]


def when_it_opens(
    along: pd.DataFrame, changes: pd.DataFrame, encoder: str, contrast: str, signal: pd.Series | None = None
) -> Finding:
    """Judge by `WHEN_CRITERION`.

    Args:
        along, changes: from `map_along` and `since_the_start`.
        signal: log-mel's row of `fairlib.findings.gaps`, to be stated beside the encoder's.
    """
    opening = _opening(along, changes[(changes["contrast"] == contrast) & (changes["scale"] == "log_odds")])
    steps = sorted(along["step"].unique())
    biased = opening[opening["biased_at_end"]]
    end = biased.rename(columns={"estimate_at_end": "estimate", "biased_at_end": "biased"})
    same_side = signal is not None and np.sign(signal["estimate"]) == np.sign(end["estimate"].sum())
    facts = {
        "encoder": encoder, "by": str(along["by"].iloc[0]), "contrast": contrast, "side": side_of(end),
        "logmel": estimate_of(signal) if signal is not None and signal["biased"] and same_side else None,
        "error_at_start": float(along.loc[along["step"] == steps[0], "error"].min()),
        "hidden": bool(biased["hidden_at_start"].any()),
    } | _how_it_opened(opening, encoder, steps)  # fmt: skip
    rows = opening.drop(columns=["biased_at_start", "turned_since_start", "hidden_at_start", "opened", "moved"])
    if signal is not None:
        rows = rows.assign(**{f"logmel_{name}": signal[name] for name in ("estimate", "low", "high")})
    there = biased["biased_at_start"]
    verdict = "contradicted" if there.all() else "supported" if biased["opened"].any() and not there.any() else ""
    if biased.empty:
        return judged("when", "inconclusive", facts, rows.to_dict("records"), along, said="no_gap")
    return judged("when", verdict or "inconclusive", facts, rows.to_dict("records"), along, said="opened")


def _opening(along: pd.DataFrame, change: pd.DataFrame) -> pd.DataFrame:
    """What became of each layer's gap from the first step to the last, as `WHEN_CRITERION` looks at it.

    Returns:
        One row a layer: ``layer, biased_at_end, biased_since_step``, the gap's ``estimate, low, high`` at the start and
        at the end, ``change, p_holm``; of layers biased at the end also ``biased_at_start`` (to the same side),
        ``turned_since_start`` (biased to the other side then), ``hidden_at_start`` (not biased to the same side but
        saturated at the start), ``opened`` (none of these, and moved to that side), and ``moved``: 1 away from zero, -1
        towards it, 0 where this is not shown.
    """
    steps, change = sorted(along["step"].unique()), change.set_index("layer")
    by_step = {step: along[along["step"] == step].set_index("layer") for step in steps}
    start, end = by_step[steps[0]], by_step[steps[-1]]
    rows = []
    for layer in end.index:
        side = np.sign(end.loc[layer, "estimate"])
        held = [bool(by_step[step].loc[layer, "biased"]) and np.sign(by_step[step].loc[layer, "estimate"]) == side
                for step in steps]  # fmt: skip
        # Where there were as many errors as units, there are no odds, and no change is shown.
        moved = int(np.nan_to_num((change.loc[layer, "p_holm"] < 0.05) * np.sign(change.loc[layer, "estimate"]) * side))
        turned = held[-1] and not held[0] and bool(start.loc[layer, "biased"])
        hidden = held[-1] and not held[0] and bool(start.loc[layer, "saturated"])
        since = next((step for place, step in enumerate(steps) if all(held[place:])), None) if held[-1] else None
        rows.append(
            {
                "layer": layer, "biased_at_end": held[-1], "biased_since_step": since,
                **{f"{name}_at_{when}": table.loc[layer, name] for when, table in (("start", start), ("end", end))
                   for name in ("estimate", "low", "high")},
                "change": change.loc[layer, "estimate"], "p_holm": change.loc[layer, "p_holm"],
                "biased_at_start": held[-1] and held[0], "turned_since_start": turned, "hidden_at_start": hidden,
                "opened": held[-1] and not (held[0] or turned or hidden) and moved > 0,
                "moved": moved if held[-1] else 0,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _how_it_opened(opening: pd.DataFrame, encoder: str, steps: list[int]) -> dict[str, Any]:
    """What became of the layers' gaps: in which of them it was there, opened, or is there without shown growth, since
    when, and where it grew or shrank."""
    biased = opening[opening["biased_at_end"]]
    at, hours_known = hours_at(encoder, steps), len(hours_heard(encoder)) > 1
    there, opened = biased[biased["biased_at_start"]], biased[biased["opened"]]
    turned = biased[biased["turned_since_start"]]
    rest = biased[~biased["biased_at_start"] & ~biased["turned_since_start"] & ~biased["opened"]]
    of_layers = {
        "layers": opening, "biased": biased, "there": there, "turned": turned, "opened": opened, "rest": rest,
        "rest_grown": rest[rest["hidden_at_start"] & (rest["moved"] > 0)],
        "grown": there[there["moved"] > 0], "shrunk": there[there["moved"] < 0],
    }  # fmt: skip
    since = {
        f"{name}_since": [at[step] for step in steps if step in set(chosen["biased_since_step"])] if hours_known else []
        for name, chosen in (("opened", opened), ("rest", rest))
    }
    return {name: list(chosen["layer"]) for name, chosen in of_layers.items()} | since


# ---- the pair that differs in what it heard ----


def second_seed(encoder: str) -> str | None:
    """Name of the same encoder trained from another seed, if outcomes of it are published."""
    steps = published_steps(f"{encoder}{SECOND_SEED}")
    return f"{encoder}{SECOND_SEED}@{steps[-1]}" if steps else None


@dataclass(frozen=True)
class Pair:
    """Two encoders of which the second's gap is taken from the first's.

    Attributes:
        by_speech: they differ in the speech they heard; otherwise in the seed alone.
    """

    one: str
    other: str
    by_speech: bool = True


def pairs_of(
    encoder: str, counterpart: str, differ: str = "heard such speakers", other: str = "having heard them"
) -> dict[str, Pair]:
    """What to compare, by what to call it: two encoders that differ in one thing alone and, where both were trained
    once more, those, and each beside its own second training.

    Args:
        counterpart: the encoder that heard such speakers, or the one with more.
        differ: what the counterpart differs in.
        other: says of the counterpart that it is meant.

    Example:
        >>> list(pairs_of("mini-hubert", "mini-hubert-learners"))
        ['heard such speakers']
    """
    pairs = {differ: Pair(counterpart, encoder)}
    again, other_again = second_seed(encoder), second_seed(counterpart)
    if again and other_again:
        pairs[f"{differ}, second seed"] = Pair(other_again, again)
        pairs["only another seed"] = Pair(again, encoder, by_speech=False)
        pairs[f"only another seed, {other}"] = Pair(other_again, counterpart, by_speech=False)
    return pairs


def changes_by_speech(outcomes: pd.DataFrame, by: str, pairs: Mapping[str, Pair]) -> pd.DataFrame:
    """How much each layer's gap differs between two encoders, in pairs, for each pair of encoders in turn.

    Args:
        outcomes: of these encoders, one task and unit; a pair of which one is not there is left out.
        pairs: by what to call them, as from `pairs_of`.

    Returns:
        As `bias_differences`, with the columns ``pair`` and ``by_speech``; Holm's p is over the layers of one pair.
    """
    tables, there = [], set(outcomes["encoder"])
    for name, pair in pairs.items():
        if not {pair.one, pair.other} <= there:
            continue
        layers = layer_order(outcomes.loc[outcomes["encoder"] == pair.one, "layer"].unique())
        apart = bias_differences(outcomes, by, [((pair.one, layer), (pair.other, layer)) for layer in layers])
        tables.append(apart.assign(pair=name, by_speech=pair.by_speech))
    return pd.concat(tables, ignore_index=True)


def does_it_help(
    bias: pd.DataFrame, changes: pd.DataFrame, encoder: str, contrast: str, best: str, rule: str = "cause"
) -> Finding:
    """Judge whether the gap is smaller in an encoder that heard such speakers, is larger, or heard more.

    Args:
        bias: from `group_bias`, with the encoder that did not hear such speakers, or the one with less.
        changes: from `changes_by_speech`.
        best: the layer to quote.
        rule: "cause", "size" or "hours".
    """
    before = gaps(bias, encoder, contrast).set_index("layer")
    layers = list(before.index)
    biased = [layer for layer in layers if before.loc[layer, "biased"]]
    apart = changes[(changes["contrast"] == contrast) & (changes["scale"] == "log_odds")]
    speech, seeds = (
        {name: rows.set_index("layer") for name, rows in apart[apart["by_speech"] == kind].groupby("pair", sort=False)}
        for kind in (True, False)
    )
    moved = {name: (rows["p_holm"] < 0.05) * np.sign(rows["estimate"].fillna(0)) for name, rows in speech.items()}
    changed = [layer for layer in biased if {move[layer] for move in moved.values()} in ({1.0}, {-1.0})]
    # By how far each lies from zero: a gap that turned and grew is no smaller one.
    after = before["estimate"] + next(iter(speech.values()))["estimate"]
    nearer = after.abs() < before["estimate"].abs()
    smaller, larger = ([layer for layer in changed if nearer[layer] == closer] for closer in (True, False))
    alone = [layer for layer in biased if any(move[layer] for move in moved.values()) and layer not in smaller + larger]
    every = pd.concat(speech.values())
    too_wrong = [layer for layer in layers if "saturated" in before and before.loc[layer, "saturated"]]
    columns = ["pair", "encoder", "layer", "encoder_b", "estimate", "low", "high", "p_holm"]
    facts = {
        "encoder": encoder, "other": str(apart["encoder"].iloc[0]), "by": str(before["by"].iloc[0]),
        "contrast": contrast, "layers": layers, "biased": biased, "too_wrong": too_wrong,
        "smaller": smaller, "larger": larger, "alone": alone, "side": side_of(before), "pairs": len(speech),
        "best": best,
        "changes": [estimate_of(rows.loc[best]) for rows in speech.values()],
        "within": bool((every["low"] > -MARGIN).all() and (every["high"] < MARGIN).all()),
        "most": float(max(every.loc[every.index.isin(smaller + larger), "estimate"].abs(), default=np.nan)),
        "by_seed": max(float(rows["estimate"].abs().max()) for rows in seeds.values()) if seeds else None,
    }  # fmt: skip
    verdict = "supported" if smaller and not larger else "contradicted" if larger and not smaller else "inconclusive"
    said = "changed" if biased else "no_gap"
    return judged(rule, verdict, facts, apart[columns].to_dict("records"), before, said)


def best_layer(outcomes: pd.DataFrame, encoder: str) -> str:
    """The layer of an encoder with the lowest error over all speakers."""
    error = mean_error(outcomes[outcomes["encoder"] == encoder])
    return str(error.loc[error["error"].idxmin(), "layer"])


def unknown(counterpart: str) -> Finding:
    """The finding where there is nothing to judge by."""
    return judged("cause", "inconclusive", {"counterpart": counterpart}, [], said="unknown")


def what_was_exchanged(encoder: str, counterpart: str) -> str:
    """What two encoders of ours heard in pretraining, in words.

    Example:
        >>> what_was_exchanged("pocket-hubert", "pocket-hubert-children")
        'LibriSpeech, Common Voice (4.6 h of it) and speechocean762 instead of LibriSpeech and Common Voice'
    """
    heard = [
        [CORPORA[part["corpus"]].title + (f" ({part['hours']:g} h of it)" if part.get("hours") else "")
         for part in pretraining_data(name)]
        for name in (counterpart, encoder)
    ]  # fmt: skip
    return say("cause.exchanged", counterpart=heard[0], encoder=heard[1])
