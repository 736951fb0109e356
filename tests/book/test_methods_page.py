"""The page of methods: its numbers are the code's, and nothing that the code knows is missing."""

import dataclasses
import importlib
import re
import subprocess
from datetime import date

import pytest
from test_notebooks import NAMES, NOT_PROSE

from fairlib.bias import sums
from fairlib.book import chapters, methods, methods_rules, methods_tables, provenance
from fairlib.corpora import CORPORA
from fairlib.corpora.corpus import Size
from fairlib.encoders import load_encoder, our_encoders, parameters_of
from fairlib.findings import rules
from fairlib.probes import CharacterProbe, PhoneProbe, SpeakerProbe, alignment, characters
from fairlib.training import finetuning, speech
from fairlib.training.recipe import read_recipe

TEMPLATE = (chapters.ROOT / "book" / methods.PAGE).read_text(encoding="utf-8")
PLACES = sorted({place[0] for place in methods.PLACE.finditer(TEMPLATE)})
DERIVED = "book."  # of functions that make tables and sums: tested one by one


def path_of(place: str) -> tuple[str, str]:
    path, form = methods.PLACE.fullmatch(place).groups()
    return path, form or ""


@pytest.fixture(scope="module")
def page() -> str:
    return methods.filled(TEMPLATE)


# ---- every number is the code's ----


def other_than(value):
    """A value of the same kind that stands nowhere in the code."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 97
    return {str: "otherwise", tuple: (911, 977), type(None): 77}[type(value)]


def put(monkeypatch, path: str, value) -> None:
    """Change what a path leads to, wherever it lies."""
    parent, _, name = path.rpartition(".")
    holder = methods.value_at(parent)
    if isinstance(holder, dict):
        monkeypatch.setitem(holder, name, value)
    elif isinstance(holder, type):
        monkeypatch.setattr(holder.__dataclass_fields__[name], "default", value)
    elif dataclasses.is_dataclass(holder):  # a frozen one is exchanged for another
        put(monkeypatch, parent, dataclasses.replace(holder, **{name: value}))
    else:
        monkeypatch.setattr(holder, name, value)


@pytest.mark.parametrize("place", [place for place in PLACES if not path_of(place)[0].startswith(DERIVED)])
def test_a_number_on_the_page_is_the_objects_own(place, monkeypatch):
    path, form = path_of(place)
    was = methods.value_at(path)
    changed = other_than(was)
    assert methods.filled(place) == methods.shown(was, form)
    put(monkeypatch, path, changed)
    assert methods.filled(place) == methods.shown(changed, form) != methods.shown(was, form)


def test_a_path_that_leads_nowhere_is_refused():
    with pytest.raises(LookupError, match="asks for bias.sums.RESAMPLED, in which there is no RESAMPLED"):
        methods.filled("{{bias.sums.RESAMPLED}}")


def test_the_page_is_filled_where_it_lies(tmp_path):
    methods.write_methods(tmp_path)  # a book without it
    (tmp_path / methods.PAGE).write_text("{{probes.speakers.FEWEST_UTTERANCES}} utterances")
    methods.write_methods(tmp_path)
    assert (tmp_path / methods.PAGE).read_text() == "4 utterances"


def test_no_place_is_left_open(page):
    assert "{{" not in page and "}}" not in page


def test_the_template_itself_holds_no_number():
    text = methods.PLACE.sub(" ", TEMPLATE)
    for pattern in [*NOT_PROSE, *NAMES, r"speechocean762", r"[Cc]hapter \d+", r"[Ll]ayer 0"]:
        text = re.sub(pattern, " ", text, flags=re.S)
    assert not re.findall(r"(?<![A-Za-z])\d+", text)


def test_sums_follow_from_the_constants(monkeypatch):
    assert (methods_tables.frame_ms(), methods_tables.head_ms()) == (20, 360)
    monkeypatch.setattr(speech, "FRAME_STEP", 160)
    assert methods_tables.frame_ms() == 10
    wide = CharacterProbe(kernel=7, stride=4)
    monkeypatch.setattr(characters, "CharacterProbe", lambda: wide)
    assert methods_tables.head_ms() == 13 * 4 * 10
    monkeypatch.setattr(alignment, "BEAMS", ({},))
    monkeypatch.setattr(finetuning, "ALPHABET", "AB")
    assert (methods_tables.beams(), methods_tables.alphabet_size()) == (1, 2)


def test_corpora_are_as_their_entries_say(monkeypatch):
    about = dataclasses.replace(
        CORPORA["librispeech"], licence="a licence", people="somebody", consent="Asked.", size=Size(33333, 4.25, 555)
    )
    monkeypatch.setitem(CORPORA, "librispeech", about)
    assert "| Somebody | 555 people, 33,333 utterances, 4.25\N{NO-BREAK SPACE}h | a licence |" in methods.filled(
        "{{book.methods_tables.corpora_table}}"
    )
    assert "- *LibriSpeech*: Asked." in methods_tables.consent_list()


def test_people_are_counted_in_the_published_outcomes(monkeypatch):
    table = methods_tables.groups_table()
    assert "| speechocean762 | age group | adult 128, child 122 | adult 61, child 64 |" in table
    assert "| LibriSpeech | sex | female 16, male 12 | 7 in smaller groups |" in table
    monkeypatch.setattr(methods_tables, "FEWEST_SHOWN", 4)
    assert "| LibriSpeech | sex | female 16, male 12 | female 4, 3 in smaller groups |" in methods_tables.groups_table()


def test_hours_and_weights_are_as_recorded(monkeypatch):
    of = methods_tables.hours()["pocket-hubert"]
    assert float(of["distinct"]) * float(of["passes"]) == pytest.approx(float(of["heard"]), rel=0.02)
    assert float(of["heard"]) <= float(of["most"])
    record = methods_tables._record
    monkeypatch.setattr(methods_tables, "_record", lambda name: record(name) | {"hours_of_speech": 1, "hours_heard": 7})
    assert "| 1.00 | 7.0 (7.0 ×) |" in methods_tables.hours_table()


@pytest.mark.parametrize("name", ["pocket-hubert", "mini-wavlm-long"])
def test_weights_are_those_that_torch_counts(name):
    counted = sum(one.numel() for one in load_encoder(name).model.parameters())
    assert parameters_of(name) == pytest.approx(counted, rel=0.01)


def test_a_recipe_that_departs_is_named(monkeypatch):
    def read(name):
        recipe = read_recipe(name)
        if name == "pocket-wavlm":
            recipe.batches.mask_span = 4321
        return recipe

    monkeypatch.setattr(methods_tables, "read_recipe", read)
    assert methods.filled("{{book.methods_tables.recipes.batches.mask_span}}") == "10; 4,321 for pocket-wavlm"


# ---- nothing is missing ----


@pytest.mark.parametrize("probe", [SpeakerProbe, PhoneProbe, CharacterProbe], ids=lambda probe: probe.__name__)
def test_every_field_of_a_probe_has_its_row(probe):
    module = probe.__module__.removeprefix("fairlib.")
    for field in dataclasses.fields(probe):
        assert f"| `{field.name}` | {{{{{module}.{probe.__name__}.{field.name}}}}} |" in TEMPLATE


def test_every_setting_of_a_recipe_is_told():
    told = {path_of(place)[0] for place in PLACES}
    lacking = {
        f"{section}.{key}"
        for section, keys in methods_tables.recipes().items()
        for key in keys
        if f"book.methods_tables.recipes.{section}.{key}" not in told
    }
    # Where unmasked frames fade from the loss, of which no shipped encoder makes use; seconds are told by encoder, too.
    assert lacking == {"targets.unmasked_fall"}


def test_every_rule_corpus_encoder_and_call_is_on_the_page(page):
    for name, one in methods_rules.rules_written().items():
        assert f"| `{name}` | " in page and f"Rule: {name}\n" in page
        assert methods_rules.day_named(one["first"]) in page and methods_rules.day_named(one["written"]) in page
    for name in rules.NUMBERS:
        assert f"{{{{findings.rules.NUMBERS.{name}}}}}" in TEMPLATE
    assert {about.name for about in methods_tables.published_corpora()} == {
        "speechocean762", "librispeech", "commonvoice", "planted"
    }  # fmt: skip
    for about in methods_tables.published_corpora():
        assert about.people and about.consent and f"- *{about.title}*: {about.consent}" in page
    for name in our_encoders():
        assert page.count(f"\n| {name} | ") == 2  # its size, its hours
    calls = {row["call"] for row in methods_tables.read_study().to_dict("records")}
    assert calls <= set(methods_tables.CALLS)


def test_what_the_words_say_of_splits_holds():
    assert CORPORA["speechocean762"].borrows == ("librispeech",) and CORPORA["speechocean762"].own_halves
    assert not CORPORA["librispeech"].own_halves


def test_functions_take_the_numbers_that_the_page_tells():
    import inspect

    from fairlib import bias

    named = {
        "resamples": sums.RESAMPLES, "permutations": sums.PERMUTATIONS, "confidence": sums.CONFIDENCE,
        "min_speakers": sums.FEWEST_SHOWN, "power": sums.POWER, "alpha": sums.LEVEL,
    }  # fmt: skip
    modules = ("gaps", "profile", "dose", "association", "kinds", "adjustment", "teaching", "power")
    for module in (importlib.import_module(f"{bias.__name__}.{name}") for name in modules):
        for function in vars(module).values():
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                for name, parameter in inspect.signature(function).parameters.items():
                    if name in named and parameter.default is not parameter.empty:
                        assert parameter.default == named[name], (function, name)


# ---- days and commits ----


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository whose rules' file was committed three times; `commit` writes it again."""
    file = tmp_path / "rules.toml"
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setattr(methods_rules, "RULES", file)

    def git(*arguments: str) -> str:
        names = ["-c", "user.name=x", "-c", "user.email=x"]
        return subprocess.run(
            ["git", *names, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(text: str) -> str:
        file.write_text(text)
        git("add", "."), git("commit", "-qm", "x")
        return git("rev-parse", "--short", "HEAD")

    git("init", "-q")
    return commit


def written(margin: float = 0.2, rule: str = "Judged so.", name: str = "where") -> str:
    days = "first = 2026-11-22\nwritten = 2026-11-22"
    return f'[numbers]\nmargin = {margin}\n[{name}]\n{days}\nclaim = "It is so."\nrule = """{rule}"""\n'


def test_a_rule_has_the_commit_that_wrote_its_present_wording(repository, monkeypatch):
    monkeypatch.setattr(methods_rules, "NUMBERS", {"margin": 0.3})
    repository(written(rule="Judged otherwise."))
    wording = repository(written(rule="Judged so."))
    number = repository(written(margin=0.3, rule="Judged\n so."))  # another number; only the lines are broken otherwise
    assert f"| `{wording}`, " in methods_rules.rules_table()
    assert f"`{number}`, " in methods_rules.numbers_since()["margin"]
    methods_rules.RULES.write_text(written(rule="Judged anew."))
    assert "| not committed yet |" in methods_rules.rules_table()


def test_what_was_no_valid_file_then_is_passed_over(repository):
    repository("= nonsense")
    wording = repository(written())
    assert f"| `{wording}`, " in methods_rules.rules_table()


@pytest.mark.parametrize("answers", [{}, {"rev-parse": "true"}], ids=["no git", "a shallow clone"])
def test_without_history_the_page_tells_the_days_alone(answers, monkeypatch):
    monkeypatch.setattr(provenance, "_git", lambda command, *rest: answers.get(command, ""))
    table = methods_rules.rules_table()
    assert "| Rule | Claim | Present wording |\n" in table and "Commit" not in table
    assert "22 November 2026" in table
    assert "the dates alone are shown" in methods_rules.history_told()
    assert set(methods_rules.numbers_since().values()) == {"no commit is known"}


def test_days_are_written_as_everywhere():
    assert methods_rules.day_named(date(2026, 11, 5)) == "5 November 2026"
