"""A speaker column that is a number: bands of it are compared, and its own slope stands beside them."""

import numpy as np
import pandas as pd
import pytest

from fairlib.bias import BiasError, dose_slopes
from fairlib.bias.dose import bands_of, number_of, with_bands
from fairlib.bias.simulation import simulate_outcomes
from fairlib.book.chapters import ChapterError, check
from fairlib.findings import ages, questions
from fairlib.findings.views import of_groups


def with_ages(speakers: int = 80) -> pd.DataFrame:
    outcomes = simulate_outcomes({"all": [0.3, 0.3]}, speakers=speakers)
    return outcomes.assign(age=6.0 + outcomes["speaker_id"].str[-4:].astype(int) % 40)


def test_bands_hold_enough_people_and_touch_nowhere():
    numbers = pd.Series(np.r_[[7.0] * 30, np.arange(8, 48)], name="age")
    bands = bands_of(numbers)
    assert bands.value_counts().min() >= 10
    ends = sorted(tuple(map(float, band.split(" to "))) for band in bands.unique())
    assert all(low <= high for low, high in ends) and all(a[1] < b[0] for a, b in zip(ends, ends[1:]))
    assert bands[numbers.isna()].isna().all()
    with pytest.raises(BiasError, match="no two bands of 10"):
        bands_of(pd.Series([1.0] * 30 + [2.0] * 5, name="age"))


def test_every_task_has_the_same_bands_and_keeps_the_numbers():
    outcomes = with_ages()
    half = outcomes[outcomes["speaker_id"].isin(outcomes["speaker_id"].unique()[::2])]
    banded = questions.in_bands({"sid": outcomes, "asr": half}, "age")
    of_speaker = [table.drop_duplicates("speaker_id").set_index("speaker_id")["age"] for table in banded.values()]
    assert of_speaker[0].loc[of_speaker[1].index].equals(of_speaker[1])
    assert banded["asr"][number_of("age")].equals(half["age"])
    words = {"sid": outcomes.assign(age="young")}
    assert questions.in_bands(words, "age")["sid"] is words["sid"]


def test_the_slope_is_that_of_the_number_itself():
    outcomes = with_ages()
    asked = questions.ask({"asr": lambda: [outcomes]}, by="age")
    assert len(asked.groups) == 4 and asked.contrast.endswith("vs all others")
    slopes = ages.age_slopes(asked.outcomes["asr"], "age")
    direct = dose_slopes(outcomes, "age")
    assert slopes["estimate"].tolist() == pytest.approx(direct["estimate"].tolist())
    assert ages.ages_sentence(slopes).startswith("Among all speakers of 6 to 45 years")


def test_chapters_that_compare_groups_take_a_number():
    assert check("speech-recognition", {"group": "age"}).group == "age"
    assert check("speaker-identification", {"group": "age"}).group == "age"
    with pytest.raises(ChapterError, match="age is a number of years"):
        check("why", {"group": "age"})
    assert questions.refusal("speech-recognition", ["asr"], "speechocean762", "age") == ""


def test_stricter_views_of_a_number_are_of_its_bands():
    outcomes = with_ages()
    views = {"as it is": outcomes, "equal shares": outcomes[outcomes["speaker_id"].isin(outcomes["speaker_id"][::2])]}
    asked = questions.ask({"asr": lambda: [outcomes]}, by="age")
    (kept,) = of_groups([views], "age", asked.groups)
    assert set(kept) == set(views) and set(kept["as it is"]["age"].dropna()) == set(asked.groups)
    assert with_bands(outcomes, "age")["age"].equals(asked.outcomes["asr"]["age"])
