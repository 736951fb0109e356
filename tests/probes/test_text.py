"""Transcripts: letters and words as a script's readers count them, and nothing altered or left out in silence."""

import hashlib
import os
import re
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fairlib.corpora import load_corpus
from fairlib.probes import ctc
from fairlib.probes.text import count_errors, has_words, letters, plain_text, read_text
from fairlib.probes.transcripts import text_version, transcripts

SENTENCES = [
    line.split("\t")
    for line in (Path(__file__).parent / "sentences.tsv").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
UNSPACED = ("ja", "th", "zh-CN", "zh-HK", "zh-TW")
PUNCTUATION = '.,:;?!¡¿…„“”«»"—–-।。、，،؟「」'
ARABIC_POINTS = "ًٌٍَُِّْ"


def small(text: str, language: str) -> str:
    """Case, apostrophes and what may be left out, made alike in another way than the library's."""
    text = unicodedata.normalize("NFC", text)
    for one, other in zip("’‘ʼşţŞŢ" if language == "ro" else "’‘ʼ", "'''șțȘȚ" if language == "ro" else "'''"):
        text = text.replace(one, other)
    if language == "tr":
        text = text.replace("İ", "i").replace("I", "ı")
    if language == "ar":
        text = "".join(c for c in text if c not in ARABIC_POINTS)
    return text.casefold()


# -------------------------------------------------------------------------------------------------- letters and words


def test_there_is_a_sentence_in_each_of_59_languages():
    assert len({language for language, _ in SENTENCES}) == len(SENTENCES) == 59


@pytest.mark.parametrize(("language", "sentence"), SENTENCES, ids=[language for language, _ in SENTENCES])
def test_words_stay_whole_and_no_letter_is_lost(language, sentence):
    apart = "".join(" " if c in PUNCTUATION else c for c in small(sentence, language))
    words = [word.strip("'") for word in apart.split()]
    if language in UNSPACED:
        words = ["".join(words)]
    assert [small(word, language) for word in plain_text(sentence, language).split()] == words
    assert has_words(plain_text(sentence, language)) is (language not in UNSPACED)


@pytest.mark.parametrize(("language", "sentence"), SENTENCES, ids=[language for language, _ in SENTENCES])
def test_the_same_sentence_in_other_codes_is_the_same_text(language, sentence):
    plain = plain_text(sentence, language)
    assert plain_text(unicodedata.normalize("NFD", sentence), language) == plain
    assert plain_text("\ufeff" + sentence.replace(" ", " \u00a0 ") + "\u200e", language) == plain
    assert plain_text(plain, language) == plain
    assert unicodedata.is_normalized("NFC", plain)


@pytest.mark.parametrize(
    ("one", "other", "language"),
    [
        ("कि", "की", "hi"), ("ड", "ड़", "hi"), ("ที่", "ทู่", "th"), ("கா", "கூ", "ta"), ("か", "が", "ja"),
        ("は", "ぱ", "ja"),
        ("мой", "мои", "ru"), ("все", "всё", "ru"), ("ѓ", "г", "mk"), ("ı", "i", "tr"),
        ("Masse", "Maße", "de"), ("ma", "má", "vi"),
        ("ma", "mạ", "vi"), ("ποτέ", "πότε", "el"), ("zamek", "zámek", "cs"), ("दर्‍या", "दर्या", "mr"),
        ("കൺ", "കണ്", "ml"),
        ("ක", "කි", "si"), ("ကာ", "ကူ", "my"), ("ខា", "ខូ", "km"), ("པ་", "པི་", "bo"), ("װאַרט", "װאָרט", "yi"),
    ],
)  # fmt: skip
def test_different_words_stay_different(one, other, language):
    assert "" != plain_text(one, language) != plain_text(other, language) != ""


@pytest.mark.parametrize(
    ("one", "other", "language"),
    [
        ("می\u200cخواهم", "میخواهم", "fa"), ("كتاب يک", "کتاب یک", "fa"), ("کتـــاب", "کتاب", "fa"),
        ("كِتَابٌ", "كتاب", "ar"), ("آب", "ا\u0653ب", "ar"), ("שָׁלוֹם", "שלום", "he"),
        ("zu\u00adsammen", "zusammen", "de"), ("STRAẞE", "straße", "de"), ("zu\u200bsammen", "zusammen", "de"),
        ("ﬁn", "fin", "fr"), ("Ｈｅｌｌｏ", "hello", "en"), ("ｶﾞｷﾞ", "ガギ", "ja"), ("ガ", "カ\u3099", "ja"),
        ("한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8", "ko"), ("ൻ", "ന്\u200d", "ml"), ("น้ำ", "นํ้า", "th"),
        ("м’ята", "мʼята", "uk"), ("м`ята", "м'ята", "uk"), ("c´hoazh", "cʼhoazh", "br"), ("aşa", "așa", "ro"),
        ("за\u0301мок", "замок", "uk"), ("ինչպե՞ս", "ինչպես", "hy"), ("צה״ל", "צה\"ל", "he"),
        ("צה״ל", "צהל", "he"), ("EU:n", "EUn", "fi"),
        ("ג׳ירפה", "ג'ירפה", "he"),
        ("пĕр", "пӗр", "cv"), ("ზ", "Ზ", "ka"), ("ꭰ", "Ꭰ", "chr"), ("ΛΌΓΟΣ", "λόγος", "el"),
        ("col·legi", "coŀlegi", "ca"),
        ("ISTANBUL", "ıstanbul", "tr"), ("İZMİR", "izmir", "tr"), ("a &quot;b&quot; c", "a b c", "en"),
        ("ok 🙂", "ok", "en"),
        ("hi \u202babc\u202c", "hi abc", "en"), ("“dogs’”", "dogs", "en"), ("th- the", "TH THE", "en"),
        ("well-known", "well known", "en"), ("naïve café", "naive cafe", "en"), ("❤️ ok", "ok", "en"),
    ],
)  # fmt: skip
def test_what_readers_take_for_the_same_is_the_same(one, other, language):
    assert plain_text(one, language) == plain_text(other, language) != ""


def test_apostrophes_belong_to_words_and_the_okina_is_a_letter():
    assert plain_text("L’ami ‘dit’ 'tis ´", "fr") == "L'AMI DIT TIS"
    assert plain_text("Nukuʻalofa ʻo", "to") == "NUKUʻALOFA ʻO"
    assert plain_text("' '' ʼ", "uk") == ""


def test_accents_go_in_english_alone():
    assert plain_text("Voilà, é l’œuvre") == "VOILA E L'ŒUVRE"
    assert plain_text("Voilà, é l’œuvre", "fr-CA") == plain_text("Voilà, é l’œuvre", "") == "VOILÀ É L'ŒUVRE"
    assert plain_text("и й ά が", "en") == "И Й Ά が"  # no accents of Latin letters


# -------------------------------------------------------------------------- what is said and not written in letters


@pytest.mark.parametrize(
    ("text", "language", "plain"),
    [
        ("48 Ridge Road 407", "en", "FORTY EIGHT RIDGE ROAD FOUR HUNDRED AND SEVEN"), ("7", "en", "SEVEN"),
        ("the 1st, 22nd.", "en", "THE FIRST TWENTY SECOND"), ("Covid-19 at 20?", "en-GB", "COVID NINETEEN AT TWENTY"),
        ("４８ ok", "en", "FORTY EIGHT OK"), ("Er ist 42 Jahre alt.", "de", "ER IST ZWEIUNDVIERZIG JAHRE ALT"),
        ("43 hus", "sv-SE", "FYRTIOTRE HUS"), ("۵ نفر", "fa", "پنج نفر"),
    ],
)  # fmt: skip
def test_whole_numbers_are_spelled_out(text, language, plain):
    assert plain_text(text, language) == plain


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("in 1984", "en"), ("3.5 miles", "en"), ("1,000 men", "en"), ("10 000", "fr"), ("at 12:30", "en"),
        ("1/2", "en"),
        ("5-6 of us", "en"), ("-5 degrees", "en"), ("agent 007", "en"), ("B2B", "en"), ("H2O", "en"), ("x²", "en"),
        ("½ cup", "en"), ("No. 1", "en"), ("5 km", "en"), ("Henry Ⅳ", "en"), ("the 90s", "en"),
        ("call 555 123", "en"), ("8. Mai", "de"), ("1º", "es"),
        ("48 домов", "ru"), ("8 wiḍ", "kab"), ("४८ घर", "hi"), ("४८ घर", "en"), ("٤٨", "ar"), ("5개", "ko"),
        ("48", ""),
    ],
)  # fmt: skip
def test_numbers_said_in_several_ways_make_a_transcript_unusable(text, language):
    plain, why = read_text(text, language)
    assert plain == "" and "number" in why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("50%", "symbol|number"), ("fifty %", "symbol"), ("R&D", "symbol"), ("R&amp;D", "symbol"),
        ("five €", "symbol"),
        ("me@home", "symbol"), ("*cough* yes", "symbol"), ("yes\\nno", "symbol"), ("№ five", "symbol|number"),
        ("[noise] yes", "brackets"), ("<unk> yes", "brackets"), ("&lt;unk&gt; yes", "brackets"), ("（笑）", "brackets"),
        ("yes (laughs)", "brackets"), ("{breath}", "brackets"), (None, "no transcript"), (pd.NA, "no transcript"),
        (float("nan"), "no transcript"), (" \t", "no transcript"), ("…?!", "no letter"), ("'", "no letter"),
        ("🙂", "no letter"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_has_a_reason(text, why):
    plain, reason = read_text(text)
    assert plain == "" and re.search(why, reason)


@pytest.mark.parametrize(
    ("text", "language", "plain"),
    [
        ("dear customer,welcome to our ship.", "en", "DEAR CUSTOMER WELCOME TO OUR SHIP"),  # no OOV: two words
        ("in the late 1980s", "en", ""),  # not "eighty seconds"
        ("8.", "cs", ""), ("-0.01", "en", ""), ("zuͦſein", "de", "ZUͦSEIN"),
        ("Îţi vine", "ro", "ÎȚI VINE"), ("SINIF", "tr", plain_text("sınıf", "tr")),
        ("എന്റെ കമ്പ്യൂട്ടറിനു് എന്റെ ഭാഷ", "ml", "എന്റെ കമ്പ്യൂട്ടറിനു് എന്റെ ഭാഷ"),
    ],
)  # fmt: skip
def test_what_users_of_neighbouring_tools_reported(text, language, plain):
    assert plain_text(text, language) == plain


# ------------------------------------------------------------------------------------------------- errors and alphabets


def test_characters_are_letters_with_the_marks_that_make_others_of_them():
    assert letters("ИЙ") == ["И", "Й"]
    assert len(letters("ZUͦSEIN")) == 6
    assert letters("Е́Ё") == ["Е́", "Ё"]  # a stressed vowel, for which Unicode has no code
    assert len(letters(plain_text("אַ", "yi"))) == 1
    assert [len(letters(plain_text(word, "hi"))) for word in ("ड़", "ड", "कि", "नमस्ते")] == [1, 1, 2, 6]
    assert len(letters(plain_text("한국어", "ko"))) == 3
    assert len(letters(plain_text("\u1112\u1161\u11ab", "ko"))) == 1


def test_an_error_in_an_accent_is_one_error_in_one_character():
    counts = count_errors(["Ẹ́ A", "ड़क"], ["Ẹ A", "डक"], "char")
    assert counts[["errors", "length"]].to_numpy().tolist() == [[1, 3], [1, 2]]
    counts = count_errors(["Ẹ́"], ["Ẹ́"], "char")
    assert counts[["errors", "length"]].to_numpy().tolist() == [[0, 1]]


def test_an_empty_hypothesis_is_all_deletions():
    for unit, length in (("char", 4), ("word", 2)):
        counts = count_errors(["ए एक", "A"], ["", "A"], unit)
        assert counts.to_numpy().tolist() == [[length, length, 0, length, 0], [0, 1, 0, 0, 0]]


def test_a_probe_spells_in_the_characters_that_are_counted(monkeypatch):
    monkeypatch.setattr(ctc, "LEAST_STEPS", 400)
    texts = ["ड़ कि", "Ẹ́ कि", "ड़ Ẹ́", "कि ड़"] * 3
    units = sorted({letter for text in texts for letter in letters(text)})
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((len(units) + 1, 16)) * 3

    def frames(text):  # each character sounds for four frames, with one of silence after it
        which = [code for letter in letters(text) for code in [units.index(letter) + 1] * 4 + [0]]
        return (codes[which] + 0.1 * rng.standard_normal((len(which), 16))).astype(np.float16)

    settings = {"passes": 40, "seconds_per_batch": 8.0, "learning_rate": 2e-2, "warm_up": 0.05, "clip": 5.0}
    decoded = ctc.fit_ctc(
        [[frames(text) for text in texts]], texts, training=9, context=False, seed=0, width=8, kernel=3, stride=1,
        **settings,
    )  # fmt: skip
    assert decoded[0] == texts[9:]


# ----------------------------------------------------------------------------------------------- a corpus's transcripts


def table(texts, **columns):
    rows = pd.DataFrame({"corpus": "mine", "utterance_id": [f"u{i}" for i in range(len(texts))], "text": texts})
    return rows.assign(sex=["female", "male"] * (len(texts) // 2), **columns)


def test_who_is_left_out_is_counted_by_group_in_one_warning():
    with pytest.warns(UserWarning) as seen:
        read = transcripts(table(["hello", "in 1984", None, "", "[noise]", "bye"]))
    assert read.texts == ["HELLO", "", "", "", "", "BYE"]
    assert read.left_out["utterances"] == 4 and read.left_out["of"] == 6
    assert sorted(read.left_out["because"].values()) == [1, 1, 2]
    assert read.left_out["by"] == {"sex": {"female": [2, 3], "male": [2, 3]}}
    assert len(seen) == 1
    told = str(seen[0].message)
    assert "4 of 6 utterances of corpus 'mine'" in told and "2 of 3 female" in told and "u1, 'in 1984'" in told


def test_what_is_altered_for_want_of_a_language_is_told():
    with pytest.warns(UserWarning) as seen:
        assert transcripts(table(["48 rue", "voilà"])).texts == ["FORTY EIGHT RUE", "VOILA"]
    told = sorted(str(one.message) for one in seen)
    assert "accents" in told[0] and "column language" in told[0] and "numbers" in told[1] and "in English" in told[1]
    with pytest.warns(UserWarning, match="numbers are spelled out, and may .*1 time, first in '48 rue'"):
        read = transcripts(table(["48 rue", "voilà"], language="fr"))
    assert read.texts == ["QUARANTE HUIT RUE", "VOILÀ"]


def test_ordinary_english_needs_no_word_and_keeps_its_keys():
    plain = table(["It's fine, really?", "Well-known."])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert transcripts(plain).left_out == {}
    assert text_version(plain) == ""
    versions = [
        text_version(one) for one in (table(["48", "x"]), plain.assign(language="tr"), plain.assign(language="en"))
    ]
    assert len({"", *versions}) == 4


def test_letters_of_two_alphabets_in_a_word_are_told():
    with pytest.warns(UserWarning, match="words mix Latin, Greek or Cyrillic .*first in 'МОСКВA'"):
        transcripts(table(["Москвa", "да нет"], language="ru"))


def test_a_language_with_another_beside_it():
    with pytest.warns(UserWarning, match="1 for another language than English"):
        read = transcripts(table(["die Frau", "the man"], language=["de", "en"]), english=True)
    assert read.texts == ["", "THE MAN"]


@pytest.mark.skipif("FAIRLIB_DATA" not in os.environ, reason="FAIRLIB_DATA is not set")
@pytest.mark.parametrize(
    ("corpus", "digest"), [("speechocean762", "43f7394af414402a"), ("librispeech", "dfc04736072d791b")]
)
def test_the_published_studys_transcripts_read_as_they_did(corpus, digest):
    table = load_corpus(corpus)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = transcripts(table)
    assert hashlib.sha256("\n".join(read.texts).encode()).hexdigest()[:16] == digest
    assert read.left_out == {} and text_version(table) == ""
