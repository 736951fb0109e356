"""The claims of every encoder are judged as the chapters judge them, each on people whom the encoder has not heard."""

import pandas as pd
import pytest

import fairlib
from fairlib.base.tasks import TASKS
from fairlib.bias import group_bias
from fairlib.book.chapters import ROOT
from fairlib.encoders import finetuned_from, heard
from fairlib.findings import claims, main_contrast, mean_error, scaling, where_bias_begins
from fairlib.findings.ages import age_slopes
from fairlib.findings.claims import judged, verdicts_table
from fairlib.findings.marks import marks_table
from fairlib.findings.opposite import families_together
from fairlib.findings.survey import published, strangers


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return judged("speechocean762", "age_group")


def test_the_verdict_is_that_of_the_chapter(table):
    outcomes = fairlib.probe_speakers("pocket-hubert", "speechocean762", seeds=5)
    bias = group_bias(outcomes, by="age_group")
    chapter = where_bias_begins(bias, "pocket-hubert", main_contrast(bias, "pocket-hubert"))
    mine = table.set_index(["encoder", "instrument", "claim"]).loc[
        ("pocket-hubert", "speaker identification", "begins")
    ]
    assert mine["finding"].verdict == chapter.verdict
    assert [row["estimate"] for row in mine["finding"].evidence] == pytest.approx(
        [row["estimate"] for row in chapter.evidence]
    )


def test_every_published_encoder_is_judged_and_every_fine_tuned_one_beside_what_it_was(table):
    assert {"pocket-hubert", "pocket-wav2vec2", "pocket-hubert-children"} <= set(table["encoder"])
    tuned = set(table.loc[table["claim"] == "tuned", "encoder"])
    assert tuned and all(finetuned_from(name) for name in tuned)
    assert set(table.loc[table["instrument"] == "phone classification", "claim"]) <= {
        "where",
        "begins",
        "whose",
        "tuned",
    }
    phones = table[table["instrument"] == "phone classification"]
    shown = verdicts_table(phones)
    assert len(shown) == phones["encoder"].nunique() and "opposite patterns" not in shown


def test_people_whom_an_encoder_has_heard_are_left_out(table):
    which = TASKS["sid"].main
    everybody = published("pocket-hubert-children", "speechocean762", *which)
    strangers = set(published("logmel", "speechocean762", "phone", "phone", "linear")["speaker_id"])
    assert "speechocean762" in heard("pocket-hubert-children") and strangers < set(everybody["speaker_id"])
    kept = everybody[everybody["speaker_id"].isin(strangers)].query("layer == '1'")
    bias = group_bias(kept, by="age_group", permutations=50).query("scale == 'log_odds'")
    mine = table.set_index(["encoder", "instrument", "claim"]).loc[
        ("pocket-hubert-children", "speaker identification", "begins")
    ]
    assert {row["layer"]: row["estimate"] for row in mine["finding"].evidence}["1"] == pytest.approx(
        bias["estimate"].iloc[0]
    )


def test_the_readme_says_what_was_found_for_every_encoder(table):
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    verdicts = table.assign(verdict=table["finding"].map(lambda finding: finding.verdict))
    found = verdicts.groupby(["claim", "instrument"])["verdict"].agg(set)
    unequal = ["speaker identification", "phone classification"]
    # The last of one that heard half of the people, and of the one that errs least.
    some = {"depends on the scale", "contradicted", "inconclusive"}
    of_speakers = verdicts[(verdicts["claim"] == "whose") & (verdicts["instrument"] == unequal[0])]["verdict"]
    assert (of_speakers == "depends on the scale").mean() > 2 / 3 and (of_speakers == "inconclusive").sum() == 3
    for words, claim, instruments, verdicts_found in [
        ("served unequally from the first layers on", "begins", unequal, {"supported"}),
        ("The plain spectrogram shows these gaps too", "whose", ["phone classification"], {"contradicted"}),
        ("in speaker identification depends on the scale", "whose", ["speaker identification"], some),
        (
            "changes no gap in phone classification by more than the book's margin",
            "tuned",
            ["phone classification"],
            {"supported"},
        ),
        ("No gap was detected in character error rate", "begins", ["speech recognition"], {"inconclusive"}),
        ("No layer's gap in speaker identification differs detectably", "where", unequal[:1], {"inconclusive"}),
        ("Nor does any gap vary detectably with the error", "pattern", ["speaker identification"], {"inconclusive"}),
        ("Nor does any gap vary detectably with the error", "pattern", ["speech recognition"], {"inconclusive"}),
    ]:
        assert words in readme
        assert all(found[claim][instrument] == verdicts_found for instrument in instruments), (claim, found[claim])
    alone = [found.facts["without_cnn"] for found in verdicts.loc[verdicts["claim"] == "pattern", "finding"]]
    slopes = [without["excess"][0] for without in alone if without]
    assert "without the convolutions, it does in some encoders, in either direction" in readme
    assert len(slopes) <= len(alone) / 4 and min(slopes) < 0 < max(slopes)
    # Encoders whose errors fall by half from the first layer to the last, and yet no layer's gap differs.
    for name in ("midi-hubert", "mini-hubert", "mini-hubert-long", "mini-wavlm", "mini-wavlm-long"):
        errors = mean_error(fairlib.probe_speakers(name, "speechocean762")).set_index("layer")["error"]
        assert errors["12"] < 0.55 * errors["cnn"]
    assert "not even in encoders whose errors fall by half from the first layer to the last" in readme
    assert "Children are not one group: the older they are, the fewer the errors" in readme
    for outcomes in (
        ask(name)
        for name in ("mini-hubert-long", "mini-hubert", "pocket-hubert")
        for ask in (
            lambda name: fairlib.probe_speakers(name, "speechocean762"),
            lambda name: fairlib.probe_characters(name, "speechocean762").query("unit == 'char'"),
        )
    ):
        slopes = age_slopes(outcomes, "age_group").query("group == 'child' and scale == 'log_odds'")
        assert (slopes["estimate"] < 0).all() and (slopes["p_familywise"] < 0.05).any()
    sides = {
        "speaker identification": "children worse in speaker identification",
        "phone classification": "better in phone classification",
    }
    for instrument, words in sides.items():
        begins = verdicts[(verdicts["claim"] == "begins") & (verdicts["instrument"] == instrument)]
        gaps = [row["estimate"] for finding in begins["finding"] for row in finding.evidence]
        assert words in readme and all(gap > 0 if "worse" in words else gap < 0 for gap in gaps)


def test_the_readme_says_what_better_encoders_and_other_layers_bring():
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert "identifies speakers best at layer 4 and classifies phones best at layer 11" in readme
    tuned = marks_table().set_index("encoder").loc["mini-hubert-long-asr-librispeech"]
    assert tuned["best for speakers, for phones"] == "4, 11\nthey differ"
    assert "encoders of two families make two fifths fewer errors in speaker identification" in readme
    assert "their gaps do not differ detectably" in readme and len(scaling.ladders("hours")) == 2
    for names in scaling.ladders("hours"):
        less, more = (mean_error(fairlib.probe_speakers(name, "speechocean762"))["error"].min() for name in names)
        assert 1 - more / less == pytest.approx(2 / 5, abs=0.03)
    for rule in scaling.DIFFER:
        for names in scaling.ladders(rule):
            for task in ("sid", "phone"):
                every = scaling.published_of(names, task, "speechocean762", "age_group")
                steps = scaling.up_the_ladder(rule, every, names, "age_group", "child vs adult")
                assert len(steps) == len(names) - 1
                assert {finding.verdict for finding in steps.values()} == {"inconclusive"}


def test_the_readme_says_what_the_training_group_does_to_the_gap_in_phones():
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert "trained on adults, it shrinks by more than half; trained on children, it grows to about twice" in readme
    for encoder in ("mini-hubert-long", "mini-hubert", "pocket-hubert", "logmel"):
        crossed = fairlib.train_across_groups(encoder, "speechocean762", "age_group").query("unit == 'phone'")
        table = fairlib.training_group_gaps(crossed, "age_group").query("quantity == 'gap' and scale == 'log_odds'")
        gap = table.pivot(index="layer", columns="group", values="estimate")
        assert (gap["adult"] / gap["mixed speakers"] < 0.5).all()
        assert ((gap["child"] / gap["mixed speakers"]).between(1.5, 2.2)).all()


def test_where_nothing_is_published_nothing_is_judged():
    assert judged("synthetic", "group").empty and claims.told(judged("synthetic", "group")) == []


@pytest.mark.filterwarnings("ignore:Groups of sex with fewer")
def test_encoders_that_have_heard_nearly_everybody_are_not_judged():
    assert "librispeech" in heard("pocket-hubert") and len(strangers("librispeech")) == 7
    assert len(published("pocket-hubert", "librispeech", *TASKS["sid"].main))
    assert judged("librispeech", "sex").empty


def test_encoders_are_pooled_one_of_each_family_and_depth():
    together = families_together("speechocean762", "age_group")
    counts = together.drop_duplicates("task").set_index("task")["encoders"]
    # pocket-hubert, -wavlm, -wav2vec2, and the two of twelve blocks.
    assert counts.to_dict() == {"sid": 5, "asr": 5}
