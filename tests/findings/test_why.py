"""Chapter 10's verdicts follow their rules, and its sentences say what their tables hold."""

import numpy as np
import pandas as pd
import pytest

import fairlib
from fairlib.bias.training_groups import DEEPENING, MEAN_PENALTY, OWN_GAP, PENALTY, RANDOM_PENALTY
from fairlib.display import reasons
from fairlib.findings import training_groups
from fairlib.findings.by_phone import carriers_sentence, phones_shown, sentences
from fairlib.findings.erased import does_it_rest_on_the_group, readable, what_foretells_errors
from fairlib.findings.training_groups import (
    best_mixed_layer,
    does_it_deepen,
    errors_by_training_group,
    is_it_systematic,
    points,
    what_remains,
)
from fairlib.outcomes.training_groups import MIXED, trained_on
from fairlib.probes.erasure import ERASED, GROUP, KEPT, RANDOM_LABELS

LAYERS = ("cnn", "0", "1")


def rows(quantity, estimates, group="", reach=0.05, p=0.001, scale="log_odds", sizes=(60, 60)):
    """Of one quantity, a layer for each estimate."""
    layers = LAYERS[-len(estimates) :]
    table = pd.DataFrame({"layer": layers, "estimate": estimates})
    return table.assign(
        encoder="e", task="phone", unit="phone", by="age_group", contrast="child vs adult", quantity=quantity,
        group=group, scale=scale, low=table["estimate"] - reach, high=table["estimate"] + reach, p=p, p_holm=p,
        variance_speakers=0.0005, variance_draws=0.0002, n_speakers_a=sizes[0], n_speakers_b=sizes[1], n_draws=5,
    )  # fmt: skip


def crossed():
    """Outcomes in which children err less when trained on children; layer 0 has the lowest error."""
    table = []
    for layer, level in zip(LAYERS, (600, 500, 550)):
        for training, child, adult in (("child", 0, 40), (MIXED, 20, 20), ("adult", 40, 0)):
            for group, more in (("child", child), ("adult", adult)):
                about = {"layer": layer, "probe": trained_on(training), "age_group": group, "length": 1000, "seed": 0}
                for name, apart in (("1", -10), ("2", 0), ("3", 10)):  # people
                    table.append(about | {"speaker_id": group + name, "errors": level + more + apart})
    table = pd.DataFrame(table).assign(encoder="e", task="phone", unit="phone")
    return table.assign(utterance_id=table["speaker_id"])


def judged(children, adults, **kinds):
    random = [rows(RANDOM_PENALTY, [0.0, 0.01, -0.01], group) for group in ("child", "adult")]
    table = pd.concat([rows(PENALTY, children, "child", **kinds), rows(PENALTY, adults, "adult", **kinds), *random])
    errors = errors_by_training_group(crossed(), "age_group", ("child", "adult"))
    return is_it_systematic(table, errors, "e", "0")


def test_a_shift_needs_a_penalty_of_both_groups_at_every_layer():
    assert judged([0.2, 0.2, 0.2], [0.1, 0.1, 0.1]).verdict == "supported"
    assert (
        judged([0.2, 0.2, 0.2], [0.1, -0.1, 0.1]).verdict == "inconclusive"
    )  # whoever is tested, a probe trained on children is better
    assert judged([0.3, 0.3, 0.3], [0.1, 0.1, 0.1], p=0.06).verdict == "inconclusive"
    assert judged([0.1, 0.1, 0.1], [0.1, 0.1, 0.1], p=0.06).verdict == "contradicted"  # shown to be below the margin
    assert judged([0.2, 0.2, 0.2], [0.1, 0.1, 0.1], sizes=(9, 60)).verdict == "inconclusive"  # too few people


def test_the_sentence_on_a_shift_gives_the_errors_of_its_table():
    sentence = judged([0.2, 0.2, 0.2], [0.1, 0.1, 0.1]).sentence
    assert "54.0\N{NO-BREAK SPACE}% for children with a probe trained on adults and 50.0\N{NO-BREAK SPACE}%" in sentence
    assert "(log odds ratio +0.20 [+0.15, +0.25])" in sentence and "at every layer" in sentence
    assert "−0.01 to +0.01" in sentence
    part = judged([0.2, 0.2, 0.2], [0.1, 0.1, 0.1], p=np.array([0.2, 0.01, 0.01])).sentence
    assert "shown at layers 0 and 1" in part


def test_what_remains_must_lie_to_one_side():
    assert what_remains(rows(OWN_GAP, [-0.2, -0.1, -0.1]), "e").verdict == "supported"
    assert what_remains(rows(OWN_GAP, [-0.2, 0.1, -0.1]), "e").verdict == "inconclusive"
    assert what_remains(rows(OWN_GAP, [-0.1, 0.1, 0.0], p=0.3), "e").verdict == "contradicted"
    assert what_remains(rows(OWN_GAP, [-0.1, 0.1, 0.2], p=0.3), "e").verdict == "inconclusive"
    assert "−0.20 [−0.25, −0.15] (layer cnn) to −0.10" in what_remains(rows(OWN_GAP, [-0.2, -0.15, -0.1]), "e").sentence


def test_a_penalty_deepens_only_where_it_grows():
    mean = rows(MEAN_PENALTY, [0.1, 0.15, 0.2])

    def verdict(change, **kinds):
        return does_it_deepen(pd.concat([mean, rows(DEEPENING, change, **kinds)]), "e", "1").verdict

    assert verdict([0.05, 0.1]) == "supported"
    assert verdict([-0.05, -0.1]) == "contradicted"
    assert verdict([0.05, 0.1], p=0.2) == "contradicted"  # any change is below the margin
    assert verdict([0.05, 0.1], p=0.2, reach=0.2) == "inconclusive"
    first = does_it_deepen(pd.concat([mean, rows(DEEPENING, [0.05, 0.1])]), "e", "cnn")
    assert first.verdict == "inconclusive" and "the first" in first.sentence


def test_errors_stand_by_the_share_of_the_first_group_among_the_training_speakers():
    errors = errors_by_training_group(crossed(), "age_group", ("child", "adult"))
    at = errors[errors["layer"] == "0"].set_index(["group", "share"])["error"]
    assert at["child", 0] == 0.54 and at["child", 50] == 0.52 and at["child", 100] == 0.5
    assert (errors["low"] < errors["error"]).all() and (errors["high"] > errors["error"]).all()
    assert best_mixed_layer(crossed(), "e") == "0"
    assert points(-0.02) == "2.0 points lower"


def of_phones():
    return pd.DataFrame(
        {
            "encoder": "e", "layer": ["cnn"] * 4 + ["0"] * 4, "by": "age_group", "contrast": "child vs adult",
            "phone": ["AA", "IY", "S", "Z"] * 2, "class": ["vowel", "vowel", "consonant", "consonant"] * 2,
            "points": [0.1, -0.2, 0.3, 0.0, -1.0, 0.5, 0.2, 0.0],
            "estimate": [0.1, -0.1, 0.2, 0.0, -0.9, 0.4, 0.1, np.nan],
            "low": -0.5, "high": 0.5, "between": 0.3,
        }
    )  # fmt: skip


def test_phones_are_named_by_what_they_add():
    said = carriers_sentence(of_phones(), "0")
    assert "0.3 percentage points lower for children than for adults" in said
    assert said.index("AA as in fAther (−1.00)") < said.index("IY as in EAt (+0.50)")
    shown = phones_shown(of_phones(), "0", most=3)
    assert shown["phone"].drop_duplicates().tolist() == ["IY", "AA", "S"]  # vowels first, the largest gap on top
    assert sentences(of_phones(), "0")[0] == said and sentences(of_phones().assign(estimate=np.nan), "0") == []


def erasing(change, p, familywise=0.001, gap=0.8, biased=LAYERS):
    layers = list(LAYERS)
    kinds = {KEPT: 0.8, ERASED: gap + change, RANDOM_LABELS: gap}
    bias = pd.DataFrame(
        [
            {"encoder": what, "layer": layer, "contrast": "child vs adult", "scale": "log_odds", "estimate": gap,
             "low": gap - 0.3, "high": gap + 0.3, "p_familywise": familywise}
            for what, gap in kinds.items() for layer in layers
        ]
    )  # fmt: skip
    bias.loc[~bias["layer"].isin(biased), "p_familywise"] = 0.5
    changes = pd.DataFrame({"layer": layers, "estimate": change, "low": change - 0.1, "high": change + 0.1})
    changes = changes.assign(
        by="age_group", contrast="child vs adult", scale="log_odds", p=p, p_holm=np.minimum(1, 3 * p),
        n_speakers_a=60, n_speakers_b=60,
    )  # fmt: skip
    return does_it_rest_on_the_group(bias, changes, "e")


def test_a_gap_rests_on_the_group_where_erasing_it_brings_it_nearer_to_zero():
    assert erasing(-0.3, 0.01).verdict == "supported"
    assert erasing(0.3, 0.01).verdict == "inconclusive"  # the gap grew
    assert erasing(-0.05, 0.3).verdict == "contradicted"
    assert erasing(-0.15, 0.3).verdict == "inconclusive"
    # Beyond zero and farther from it than before: no smaller gap.
    assert erasing(-0.6, 0.01, gap=0.1).verdict == "inconclusive"


def test_holm_counts_the_layers_that_are_looked_at_alone():
    found = erasing(-0.3, 0.03, biased=["1"])
    assert found.verdict == "supported" and [row["p_holm"] for row in found.evidence] == [0.03]
    assert erasing(-0.3, 0.03).verdict == "inconclusive"


def test_without_a_gap_nothing_rests_on_the_group_and_the_evidence_is_there_all_the_same():
    finding = erasing(-0.3, 0.01, familywise=0.5)
    assert finding.verdict == "inconclusive" and "No layer of e shows a gap" in finding.sentence
    assert [row["layer"] for row in finding.evidence] == list(LAYERS)


def test_both_groups_weigh_alike_where_the_group_is_read():
    table = pd.DataFrame(
        {"encoder": "e", "layer": "0", "probe": KEPT, "unit": GROUP, "age_group": ["child", "adult"], "errors": [1, 30],
         "length": [10, 100]}
    )  # fmt: skip
    assert readable(table, "age_group")["error"].item() == pytest.approx(0.2)
    table = pd.concat([table, table.assign(layer="1", errors=[9, 90]), table.assign(layer="1", probe=ERASED, errors=0)])
    said = reasons.readable_sentence(table, "age_group", "e")
    assert said.replace("\N{NO-BREAK SPACE}", " ") == (
        "it misclassifies 20 % of their utterances at layer 0, the best, where guessing misclassifies 50 %"
    )


def test_the_penalty_of_log_mel_is_said_of_either_group():
    table = pd.concat([rows(PENALTY, [0.2], "child"), rows(PENALTY, [0.1], "adult"), rows(OWN_GAP, [0.3])])
    assert reasons.penalty_sentence(table.assign(encoder="logmel"), "logmel") == (
        "The penalty of log-mel is +0.20 [+0.15, +0.25] for children and +0.10 [+0.05, +0.15] for adults."
    )
    assert reasons.penalty_sentence(table, "logmel") == "*Log-mel was not measured.*"


def test_what_foretells_errors_is_found_and_the_gap_at_equal_measures():
    rng, count = np.random.default_rng(0), 200
    group = np.repeat(["child", "adult"], count // 2)
    measure = rng.normal(0, 1, count) + (group == "child")  # children have more of it, and it alone makes errors
    errors = rng.binomial(1000, 1 / (1 + np.exp(1 - 0.5 * measure)))
    names = [f"s{number}" for number in range(count)]
    about = {"speaker_id": names, "layer": "0", "age_group": group}
    geometry = pd.DataFrame(about | {"unit": "measure", "errors": np.round(1000 * measure + 5000)})
    outcomes = pd.DataFrame(about | {"errors": errors, "length": 1000})
    found = what_foretells_errors(geometry, outcomes, "age_group", ("child", "adult"), ("measure",)).set_index("term")
    assert found.loc["measure", "low"] > 0.4 and found.loc["group", "alone"] == pytest.approx(0.5, abs=0.1)
    assert found.loc["group", "low"] < 0 < found.loc["group", "high"]


def test_beside_an_encoder_stand_all_others_of_which_the_same_probes_are_published():
    """Views keep several probes in one entry, so that they are not found by a single probe's name."""
    of = [
        fairlib.train_across_groups(name, "speechocean762", "age_group", task="phone")
        for name in ("mini-hubert-long", "random:mini-hubert-long", "logmel")
    ]
    own = pd.concat(of).query("unit == 'phone'")
    every = training_groups.with_published(own, "speechocean762")
    names = list(dict.fromkeys(every["encoder"]))
    assert names[:3] == ["mini-hubert-long", "random:mini-hubert-long", "logmel"]
    assert {"mini-hubert", "mini-wavlm", "pocket-hubert", "random:pocket-hubert"} <= set(names)
    assert "random:mini-hubert" not in names  # the same weights as the second
    assert set(every["probe"]) == set(own["probe"]) and set(every["unit"]) == {"phone"}
    table = training_groups.encoders_table(every.query("encoder != 'mini-wavlm'"), "age_group")
    labels = list(table["encoder"])
    assert len(set(labels)) == len(labels) and labels[1] == "untrained twin"
    assert "untrained twin of pocket-hubert" in labels
