"""What can be asked of a corpus, and of whom: groups keep their names, few people are named and not judged."""

import numpy as np
import pandas as pd
import pytest

from fairlib import findings
from fairlib.bias import FEWEST_SHOWN, group_bias, group_errors
from fairlib.bias.contrasts import contrast_groups, contrast_name
from fairlib.bias.simulation import simulate_outcomes
from fairlib.corpora import CorpusError
from fairlib.display import sentences
from fairlib.display.charts import error_by_layer
from fairlib.display.tables import written
from fairlib.display.words import bullets, people, sides
from fairlib.findings import FEWEST_JUDGED, questions, robustness, speakers, views
from fairlib.probes import ProbeError
from fairlib.probes.splits import group_of

ODD = ["other", "others", "rest", "all others", "vs", "a vs", "vs b", "a vs b", "worst", "best", "nan", 'x, "y" | <z>']


def simulated(sizes: dict[str, int], error=0.2, seed=0, by="region") -> pd.DataFrame:
    """Two layers of outcomes with so many people in each group."""
    made = simulate_outcomes({name: [error, error] for name in sizes}, speakers=max(sizes.values()), by=by, seed=seed)
    number = made["speaker_id"].map({name: at for at, name in enumerate(made["speaker_id"].drop_duplicates())})
    place = number % max(sizes.values())
    return made[place < made[by].map(sizes)].reset_index(drop=True)


@pytest.mark.parametrize("one", ODD)
def test_a_contrast_is_read_back_whatever_its_groups_are_called(one):
    for other in [name for name in (*ODD, None) if name != one]:
        name = contrast_name(one, other)
        assert contrast_groups(name) == (one, other)
        assert name not in ("worst vs best", "between groups")
        first, second = sides("accent", name)
        assert first == people("accent", one) != second
        assert (second == "all other speakers") == (other is None)


def test_names_that_need_no_mark_are_as_they_are_written():
    assert contrast_name("child", "adult") == "child vs adult" and contrast_name("vsevolod") == "vsevolod vs all others"


def test_groups_called_worst_and_best_are_compared_like_any_other():
    bias = group_bias(simulated({"worst": 12, "best": 12}), by="region", resamples=50, permutations=50)
    [contrast] = findings.contrasts(bias)
    assert contrast_groups(contrast) == ("best", "worst")
    assert findings.main_contrast(bias, bias["encoder"].iloc[0]) == contrast


def test_groups_of_too_few_people_are_in_no_comparison_and_said():
    sizes = {"north": 12, "south": 9, "islands": 2, "jersey": 1}
    asked = questions.ask({"asr": lambda: [simulated(sizes)]}, by="region")
    assert asked.groups == ["north", "south"] and asked.contrast == "north vs south"
    assert set(asked.outcomes["asr"]["region"].dropna()) == {"north", "south"}
    [said] = asked.said
    assert "speakers with region “islands” (2)" in said and "“jersey” (1)" in said


def test_every_task_compares_the_same_groups_and_one_that_cannot_is_refused():
    asks = {
        "sid": lambda: [simulated({"north": 12, "south": 9, "west": 7})],
        "asr": lambda: [simulated({"north": 6, "south": 5, "west": 2})],
        "phone": lambda: [simulated({"north": 6, "south": 2, "west": 2})],
    }
    asked = questions.ask(asks, by="region")
    assert asked.groups == ["north", "south"] and list(asked.outcomes) == ["sid", "asr"]
    assert all(set(table["region"].dropna()) == {"north", "south"} for table in asked.outcomes.values())
    assert list(asked.refused) == ["phone"] and any("Phone classification is not run" in line for line in asked.said)


def test_what_cannot_be_asked_is_said_and_nothing_at_all_stops():
    def no_text():
        raise CorpusError("there are no transcripts.")

    asked = questions.ask({"sid": lambda: [simulated({"north": 12, "south": 9})], "asr": no_text}, by="region")
    assert asked.refused == {"asr": "there are no transcripts."} and asked.or_stop() is asked
    with pytest.raises(questions.QuestionError, match="no transcripts"):
        questions.ask({"asr": no_text}).or_stop()


@pytest.mark.parametrize(("each", "sid"), [(4, ""), (3, ""), (1, "fewer than two speakers have the 4 utterances")])
def test_a_corpus_tells_beforehand_what_can_be_asked(each, sid):
    names = [f"p{at}" for at in range(60) for _ in range(each)]
    table = pd.DataFrame({"speaker_id": names, "region": np.repeat(["north", "south"], 30 * each)})
    table = table.assign(corpus="mine", text=None)
    why = questions.reasons_against(table, "region")
    assert why["sid"].startswith(sid) and bool(why["sid"]) == bool(sid)
    assert "no transcripts" in why["asr"] and why["asr"] == why["phone"]
    assert not any(questions.reasons_against(table.assign(text="hello"), "region")[task] for task in ("asr", "phone"))
    few = table.assign(region=np.where(table["speaker_id"].isin(["p0", "p1"]), "islands", "north"))
    assert all(questions.reasons_against(few, "region").values())


def test_a_chapter_without_a_question_is_refused_but_one_that_describes_is_not():
    table = pd.DataFrame({"speaker_id": ["a", "b"], "text": None, "corpus": "mine", "region": ["x", "y"]})
    assert questions.refusal("robustness", ["sid", "asr"], "mine.csv", "region", table)
    assert questions.refusal("your-own-model", ["sid"], "mine.csv", "region", table) == ""


def test_three_recordings_of_everybody_are_verified_in_place_of_identified(monkeypatch):
    trials = simulated({"north": 12, "south": 12}).assign(task="sid", unit="target")
    trials = pd.concat([trials, trials.assign(unit="impostor of own group")], ignore_index=True)

    def refuse(*_, **__):
        raise ProbeError("needs four utterances.")

    monkeypatch.setattr(views, "probe", refuse)
    monkeypatch.setattr(views, "verify_speakers", lambda *_, **__: trials)
    assert set(views.identify_or_verify("logmel", "mine", "region")["unit"]) == {"target"}
    asked = questions.ask({"sid": lambda: [views.identify_or_verify("logmel", "mine", "region")]}, by="region")
    assert "Speaker verification" in asked.said[0]
    monkeypatch.setattr(views, "verify_speakers", refuse)
    with pytest.raises(ProbeError, match="needs four utterances"):
        views.identify_or_verify("logmel", "mine", "region")


def test_who_has_no_value_has_no_group():
    rows = pd.DataFrame({"sex": ["female", None, "male"], "accent": ["a", "b", None]})
    assert group_of(rows, ["sex"]).tolist() == ["female", "", "male"]
    assert group_of(rows, ["sex", "accent"]).tolist() == ["female, a", "", ""]


def test_a_view_without_enough_people_of_a_group_is_left_out():
    large, small = simulated({"north": 12, "south": 9, "islands": 2}), simulated({"north": 9, "south": 3, "islands": 2})
    [kept] = views.of_groups([{"as it is": large, "equal shares": small}], "region", ["north", "south"])
    assert list(kept) == ["as it is"] and set(kept["as it is"]["region"].dropna()) == {"north", "south"}


# --- sentences agree with their tables ----------------------------------------------------------------------------


def one_layer(low, high, p, n=30) -> pd.DataFrame:
    row = {"encoder": "e", "layer": "cnn", "task": "sid", "unit": "speaker", "by": "sex", "contrast": "female vs male"}
    row |= {"scale": "log_odds", "estimate": (low + high) / 2, "low": low, "high": high, "p_familywise": p}
    return pd.DataFrame([row | {"n_speakers_a": n, "n_speakers_b": n}])


@pytest.mark.parametrize(
    ("low", "high", "p", "words"),
    [
        (-1.80, -0.14, 0.2, "excludes zero, but the gap is not significant after correction for all layers"),
        (-1.80, -0.14, 0.01, "lower error"),
        (-0.5, 0.4, 0.3, "the interval includes zero"),
        (np.nan, np.nan, np.nan, "no interval can be given"),
    ],
)
def test_a_layer_is_told_by_its_own_interval_and_p(low, high, p, words):
    errors = pd.DataFrame({"encoder": "e", "layer": "cnn", "group": ["female", "male"], "error": [0.1, 0.2]})
    [line] = sentences.layer_sentences(errors, one_layer(low, high, p), "e", "female vs male")
    assert words in line
    assert ("includes zero" in line) == (low < 0 < high)


@pytest.mark.parametrize("n", [FEWEST_SHOWN, FEWEST_JUDGED - 1, FEWEST_JUDGED])
def test_too_few_people_are_not_judged_and_every_answer_names_their_number(n):
    rows = pd.concat([one_layer(0.5, 1.5, 0.01, n).assign(layer=layer) for layer in ("cnn", "0", "1")])
    found = findings.where_bias_begins(rows, "e", "female vs male")
    assert f"{n} speakers" in found.sentence
    assert (found.verdict == "supported") == (n >= FEWEST_JUDGED)
    assert found.sentence.startswith("Not judged") == (n < FEWEST_JUDGED)
    assert f"fewer than {FEWEST_JUDGED} speakers" in found.criterion


def test_where_no_way_can_tell_nothing_has_been_shown_to_hold():
    rows = [(robustness.BOOK, 0.1, -6.40, 3.02), ("seed 0 alone", 0.2, -1.0, 2.0)]
    table = pd.DataFrame(rows, columns=["name", "estimate", "low", "high"]).assign(at="best", layer="1", error=0.2)
    found = robustness.does_it_hold(table, "sex", "female vs male", "In identification")
    assert found.verdict == "inconclusive"
    shown = table.assign(low=0.05)
    assert robustness.does_it_hold(shown, "sex", "female vs male", "In identification").verdict == "supported"


def test_a_choice_without_a_gap_at_its_best_layer_is_no_choice():
    table = robustness._with_best([{"name": "one", "at": "cnn"}, {"name": "two", "at": "best"}])
    assert table["name"].tolist() == ["two"]


def test_a_control_that_errs_nearly_always_is_said_beside_the_verdict():
    errors = {("e", "1"): 0.3, ("random:e", "1"): 0.84, ("logmel", "logmel"): 0.4}
    made = one_layer(0.5, 1.5, 0.01)
    three = [made.assign(encoder=name, layer=layer, overall=error) for (name, layer), error in errors.items()]
    apart = pd.DataFrame(columns=["contrast", "scale", "p_holm", "layer", "encoder_b", "estimate", "low", "high"])
    said = findings.whose_gap(pd.concat(three), apart, "e", "female vs male").sentence
    assert "untrained twin 84\N{NO-BREAK SPACE}%" in said and "log-mel 40" not in said


def test_a_smallest_gap_of_more_than_a_hundred_points_is_none():
    table = pd.DataFrame({"contrast": "a vs b", "task": ["one", "other"], "points": [4.2, 290.7], "log_odds": [0.3, 9]})
    assert written(speakers.written(table)["smallest difference, points"].tolist()[1]).startswith("none")
    said = speakers.smallest_sentence(table, "region", "a vs b")
    assert "4.2 in one" in said and "In other there are too few speakers" in said and "290" not in said


def test_nothing_to_compare_is_no_likeness():
    empty = speakers.differences(pd.DataFrame({"region": ["a", "b"]}), "region", "a vs b")
    assert speakers.are_they_alike(empty, "region", "a vs b").verdict == "inconclusive"


def test_names_of_groups_are_no_markup():
    assert bullets(["of <b>*x*</b>"]) == r"- of \<b\>\*x\*\</b\>"


def test_more_groups_than_colours_differ_by_their_dashes():
    errors = group_errors(simulated({f"g{at:02d}": 6 for at in range(19)}), by="region", resamples=50)
    chart = error_by_layer(errors, title="t", description="d").to_dict()
    lines = [part["mark"] for part in chart["layer"] if part["mark"].get("type") == "line"]
    looks = {(mark["color"], tuple(mark["strokeDash"])) for mark in lines}
    assert len(lines) == len(looks) == 19
