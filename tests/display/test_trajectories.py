"""What chapter 9 draws along a pretraining: each family at its own best layer, each task's layers in one table."""

import pandas as pd

from fairlib.bias import group_bias
from fairlib.bias.simulation import simulate_outcomes
from fairlib.display import charts, trajectories
from fairlib.encoders import our_encoders, pretraining_log
from fairlib.findings import pretraining

CONTRAST = "child vs adult"


def made(child: list[float], name: str, seed: int = 0) -> pd.DataFrame:
    table = simulate_outcomes({"child": child, "adult": [0.3, 0.2]}, speakers=60, by="age_group", seed=seed)
    return table.assign(encoder=name, layer=table["layer"].map({"0": "cnn", "1": "0"}))


def watched(end: list[float]) -> dict[int, pd.DataFrame]:
    return {0: made([0.3, 0.2], "e@0"), 10000: made(end, "e", seed=1)}


def test_families_are_named_with_the_layer_at_which_they_end_best():
    maps = {
        "pocket-hubert": pretraining.map_along(watched([0.45, 0.3]), "age_group", CONTRAST),
        "pocket-wavlm": pretraining.map_along(watched([0.1, 0.4]), "age_group", CONTRAST),
    }
    chart = trajectories.families("phone", maps, CONTRAST)
    title = " ".join(chart.to_dict()["title"]["text"])
    assert title.startswith("Phone classification: the gap ends at +")
    assert "(pocket-hubert, layer 0) and −" in title and title.endswith("(pocket-wavlm, layer cnn)")


def test_a_title_names_the_smallest_and_the_largest_gap_of_many_families():
    ends = {"pocket-hubert": [0.45, 0.3], "pocket-wavlm": [0.1, 0.4], "mini-hubert": [0.4, 0.2]}
    maps = {name: pretraining.map_along(watched(end), "age_group", CONTRAST) for name, end in ends.items()}
    spec = trajectories.families("phone", maps, CONTRAST).to_dict()
    title = " ".join(spec["title"]["text"])
    assert "ends at −" in title and "(pocket-wavlm, layer cnn) to +" in title and "mini-hubert" not in title
    assert all(name in spec["description"] for name in maps)


def test_every_layer_of_every_task_has_its_row():
    steps = watched([0.45, 0.35])
    changes = pretraining.since_the_start(steps, "age_group")
    along = pretraining.map_along(steps, "age_group", CONTRAST)
    opens = pretraining.when_it_opens(along, changes, "pocket-hubert", CONTRAST)
    table = trajectories.opening_table(
        {"sid": opens, "phone": opens}, {"sid": changes, "phone": changes}, "pocket-hubert", CONTRAST
    )
    assert table["layer"].tolist() == ["cnn", "0"] * 2 and set(table["shown from"]) == {"44\N{NO-BREAK SPACE}h"}
    assert table["gap at the end"].iloc[0].value > 0.3 > abs(table["gap at the start"].iloc[0].value)


def test_the_chart_of_a_task_is_named_by_it():
    outcomes = pd.concat([made([0.45, 0.35], "pocket-hubert"), made([0.3, 0.2], "pocket-wavlm", seed=1)])
    chart = charts.gaps_of_task("sid", group_bias(outcomes, "age_group"), CONTRAST, "pocket-hubert", "pocket-wavlm")
    spec = chart.to_dict()
    assert " ".join(spec["title"]["text"]).startswith("Speaker identification: Every layer of pocket-hubert shows")
    assert spec["description"].index("pocket-wavlm") < spec["description"].index("pocket-hubert")


def test_every_training_task_is_drawn_with_its_points():
    """Curves of more than twenty points are lines alone; a training that was logged more often is drawn in steps."""
    for name in our_encoders():
        log = pretraining_log(name)
        chart = trajectories.pretraining_task(log).to_dict()
        assert any(isinstance(part["mark"], dict) and part["mark"]["type"] == "point" for part in chart["layer"]), name
