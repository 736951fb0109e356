"""Transcripts: their letters and words as readers of the script count them, and the errors of a hypothesis.

Unicode is normalised here and nowhere else. What is kept of a text is its letters, with the signs that belong to them
(vowel signs, viramas, nuktas, voicing marks, accents), and its apostrophes; everything else parts words. What is said
aloud but not written in letters is spelled out (whole numbers below a thousand, where the language is known to
`SPELLED_IN`) or makes the transcript unusable, with a reason: a reference that lacks words would count them as errors.

- Case does not matter: all is upper case, but a letter stays one letter (ß is ẞ, not SS).
- In English, letters lose their accents (Voilà is VOILA); in every other language they are letters of their own.
- Points that readers may leave out are left out: vowels of Arabic script (not hamza and madda, which make other
  letters) and of Hebrew, the stress of Cyrillic. Yiddish and Kashmiri need theirs, and Thaana's are no option.
- A zero-width non-joiner (Persian), a soft hyphen, a byte order mark and their like shape the line and are no letters:
  the word stays whole without them. A joiner beside a virama can make another word, and stays.
- All apostrophes are one ('), also where a letter like ʼ stands for one; the Hawaiian ʻ is a letter of its own. At the
  edge of a word they cannot be told from quotation marks, and go.
- Marks that are written within a word do not part it: Armenian's of question and stress, Hebrew's of an acronym, the
  colon before a Swedish or Finnish ending.
- Hyphens part words (as in LibriSpeech); a fragment (th-) is what was said of it. The l·l of Catalan is kept.
- Brackets may hold what nobody said ([noise], <unk>, (laughs)) or what was read: nobody can tell, so they are unusable.
- Scripts written without spaces (Chinese, Japanese, Thai, ...) have characters, but no words.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Any

import numpy as np
import pandas as pd

# Where number words hardly bend, and num2words2 writes what people write. For other languages it may give another
# script, or another language whose code begins alike (Georgian for Kabyle).
SPELLED_IN = ("ca", "da", "de", "en", "eo", "es", "fa", "fr", "hu", "id", "it", "nl", "no", "pt", "ro", "sv", "vi")
_NUMBER = re.compile(r"(?<!\w)(\d{1,3})(st|nd|rd|th)?(?!\w)", re.IGNORECASE)
# Decimals, dates, times, ranges, thousands, signs, leading zeros, numeros, units: said in other words or several ways.
_MANIFOLD = re.compile(
    r"\d[^\w\s]+\d|\d\s\d{3}(?!\d)|(?<!\w)[-−–+]\d|(?<!\d)0\d|\d['’]\w|\b[Nn]o\.\s?\d"
    r"|\d\s(?:km|cm|mm|kg|mg|ml|mph|lbs?|oz|ft|[kKMG]?Hz|[KMG]B)\b"
)
_ORDINAL = re.compile(r"\d\.(?=\s*\w)")  # in most languages "8. Mai" is the eighth; in English a sentence ends

_SAID = set("%‰&@+=#*\\°№§×÷±√∞")  # and currencies
_BRACKETS = set("()[]{}<>")
_WITHIN_WORDS = str.maketrans(dict.fromkeys("’‘‛`´′＇՚׳", "'") | dict.fromkeys("՛՜՞"))
_HEBREW_ACRONYM = re.compile('(?<=[א-ת])["״”](?=[א-ת])')
_ENDING = re.compile(r"(?<=\w):(?=[^\W\d])")
_ENTITY = re.compile(r"&(#\d+|#x[0-9a-f]+|[a-z]+\d*);", re.IGNORECASE)

_LATIN_ACCENTS = re.compile("(?<=[A-Za-z\u00c0-\u02af\u1e00-\u1eff])[\u0300-\u036f]+")
_OPTIONAL_POINTS = re.compile(  # Arabic and Hebrew; the line that stretches Arabic words
    "[\u064b-\u0652\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4-\u05c7]"
)
_STRESS = re.compile("(?<=[\u0400-\u04ff])[\u0300\u0301]")  # what NFC leaves of them; ѝ, ѓ and ќ are letters
_POINTED = ("yi", "ks")
_SAME_LETTERS: dict[str, Any] = {  # one letter to the language's readers, two to Unicode
    "cv": str.maketrans("ăĕçÿĂĔÇŸ", "ӑӗҫӳӐӖҪӲ"),
    "fa": str.maketrans("يك", "یک"),
    "kab": str.maketrans("γεԑΓΕΣԐ", "ɣɛɛƔƐƐƐ"),
    "ro": str.maketrans("şţŞŢ", "șțȘȚ"),
    "tr": str.maketrans({"i": "İ"}),
    "az": str.maketrans({"i": "İ"}),
}
_SPELLINGS = {  # Malayalam's letters without a vowel, as typed before they had codes of their own
    "ണ്\u200d": "ൺ", "ന്\u200d": "ൻ", "ര്\u200d": "ർ", "ല്\u200d": "ൽ", "ള്\u200d": "ൾ", "ക്\u200d": "ൿ",
}  # fmt: skip
_AM = {  # of Thai and Lao: one letter, taken apart by NFKC, or typed so
    "\u0e33": re.compile("\u0e4d([\u0e48-\u0e4b]?)\u0e32"), "\u0eb3": re.compile("\u0ecd([\u0ec8-\u0ecb]?)\u0eb2"),
}  # fmt: skip
# Thai, Lao, Tibetan, Myanmar, Khmer, Tai, Javanese, kana, Bopomofo, Han.
_UNSPACED = (
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u3005-\u3007\u3040-\u312f\u31a0-\u31ff\u3400-"
    "\u9fff\ua980-\ua9ff\uaa60-\uaadf\uf900-\ufaff\U00020000-\U0003ffff]"
)
_SPACE_WITHIN = re.compile(f"(?<={_UNSPACED}) (?={_UNSPACED})")

NO_TRANSCRIPT, NO_LETTER = "no transcript", "no letter in it"
NUMBER, SYMBOL = "a number that cannot be spelled out", "a symbol that is said aloud"
BRACKET = "brackets, in which may stand what nobody said"


def plain_text(text, language: str = "en") -> str:
    """The words of a transcript, in upper case, apart by one space; empty where it has none or they cannot be known.

    Args:
        text: as it was written; missing is as good as empty.
        language: a code such as ``en`` or ``pt-BR``; empty if nobody knows.

    Example:
        >>> plain_text("Voilà: it's 'fine', really…"), plain_text("Voilà: c’est là.", "fr")
        ("VOILA IT'S FINE REALLY", "VOILÀ C'EST LÀ")
        >>> plain_text("48 Ridge Road"), plain_text("in 1984")
        ('FORTY EIGHT RIDGE ROAD', '')
    """
    return read_text(text, language)[0]


def read_text(text, language: str = "en") -> tuple[str, str]:
    """As `plain_text`, and the reason where it is empty.

    Example:
        >>> read_text("[noise] hello")
        ('', 'brackets, in which may stand what nobody said')
    """
    if not isinstance(text, str) or not text.strip():
        return "", NO_TRANSCRIPT
    text = _ENTITY.sub(lambda found: html.unescape(found[0]), text).translate(_WITHIN_WORDS)
    text = _HEBREW_ACRONYM.sub("", text)
    if base_code(language) in ("fi", "sv"):
        text = _ENDING.sub("", text)
    text = _spell_numbers(text, language)
    if any(unicodedata.category(c)[0] == "N" and c != "〇" for c in text):
        return "", NUMBER
    written, text = text, unicodedata.normalize("NFKC", text)
    if any(map(_is_said, written + text)):
        return "", SYMBOL
    if not _BRACKETS.isdisjoint(text):
        return "", BRACKET
    words = [word.strip("'") for word in _letters_and_spaces(_one_spelling(text, language)).split()]
    plain = " ".join(word.replace("ʼ", "'") for word in words if word.strip("ʼ'"))
    plain = _SPACE_WITHIN.sub("", plain)
    return plain, "" if plain else NO_LETTER


def _is_said(symbol: str) -> bool:
    category = unicodedata.category(symbol)
    letters_in_one = category == "So" and any(map(str.isalpha, unicodedata.normalize("NFKC", symbol)))
    return symbol in _SAID or category == "Sc" or letters_in_one  # such as №


def base_code(language: str) -> str:
    """The language without its region.

    Example:
        >>> base_code("pt-BR"), base_code("nb_NO")
        ('pt', 'no')
    """
    code = re.split("[-_]", language.strip().lower())[0]
    return {"eng": "en", "english": "en", "nb": "no", "nn": "no"}.get(code, code)


def _spell_numbers(text: str, language: str) -> str:
    """Whole numbers below a thousand as words; others, and all beside them, stay as they are."""
    base = base_code(language)
    if not re.search(r"\d", text) or base not in SPELLED_IN or _MANIFOLD.search(text):
        return text
    script = ("ARABIC", "EXTENDED", "DIGIT") if base == "fa" else ("LATIN", "DIGIT", "FULLWIDTH")
    other_script = any(c.isalnum() and not unicodedata.name(c, "").startswith(script) for c in text)
    if other_script or base != "en" and _ORDINAL.search(text):
        return text
    import num2words2

    def words(found: re.Match) -> str:
        if found[2] and base != "en":
            return found[0]
        lang = "_".join([base, *re.split("[-_]", language)[1:]])
        return num2words2.num2words(int(found[1]), lang=lang, to="ordinal" if found[2] else "cardinal")

    return _NUMBER.sub(words, text)


def _one_spelling(text: str, language: str) -> str:
    """One code for what readers take for one letter, in upper case."""
    base = base_code(language)
    if base == "en":
        text = unicodedata.normalize("NFC", _LATIN_ACCENTS.sub("", unicodedata.normalize("NFD", text)))
    if base not in _POINTED:
        text = _OPTIONAL_POINTS.sub("", text)
    text = _STRESS.sub("", unicodedata.normalize("NFC", text))
    for typed, letter in _SPELLINGS.items():
        text = text.replace(typed, letter)
    for letter, apart in _AM.items():
        text = apart.sub(rf"\1{letter}", text)
    text = text.replace("ß", "ẞ").translate(_SAME_LETTERS.get(base, {}))
    return unicodedata.normalize("NFC", "".join(c.upper() if len(c.upper()) == 1 else c for c in text))


def _letters_and_spaces(text: str) -> str:
    """Letters with their marks, and apostrophes; what shapes the line is dropped, anything else is a space."""
    kept = [" "]
    for place, c in enumerate(text):
        category, after = unicodedata.category(c), text[place + 1 : place + 2]
        if category[0] == "L" and c != "ـ" or c in "'〇":
            kept.append(c)
        elif category in ("Mn", "Mc") and kept[-1] not in " '":
            if "VARIATION SELECTOR" not in unicodedata.name(c, "") and c != "\u034f":
                kept.append(c)
        elif c == "\u200d" and any(unicodedata.combining(beside) == 9 for beside in (kept[-1], after or " ")):
            kept.append(c)
        elif c in "·‧" and kept[-1] == "L" == after:
            kept.append("·")
        elif category != "Cf" and c != "ـ":
            kept.append(" ")
    return "".join(kept)


def letters(text: str) -> list[str]:
    """The characters of a plain text as they are counted, each a code or several.

    An accent for which Unicode has no letter of its own, a nukta, a voicing mark and a point of Yiddish belong to their
    letter; a vowel sign, a virama and a tone of Thai are characters, as in the field's character error rates. Korean
    counts by syllable.

    Example:
        >>> letters("Ẹ́ A"), len(letters("कि")), len(letters("ड़"))
        (['Ẹ́', ' ', 'A'], 2, 1)
    """
    found: list[str] = []
    for c in text:
        mark = unicodedata.combining(c)
        if found and (mark in (1, 7, 8) or 10 <= mark <= 26 or mark >= 200 or c == "\u200d"):
            found[-1] += c
        else:
            found.append(c)
    return found


def has_words(text: str) -> bool:
    """Whether a plain text is written in words, with spaces between them.

    Example:
        >>> has_words("HELLO"), has_words("你好")
        (True, False)
    """
    return not re.search(_UNSPACED, text)


def greedy_text(path, alphabet) -> str:
    """The text of a CTC path ``[T]``: repeats are one letter, 0 is the blank, letter n is ``alphabet[n - 1]``.

    Example:
        >>> greedy_text(np.array([1, 1, 0, 2, 2, 0, 2]), "AB")
        'ABB'
    """
    changes = path[np.flatnonzero(np.diff(path, prepend=-1))]
    return "".join(alphabet[code - 1] for code in changes if code > 0)


def count_errors(references: list[str], hypotheses: list[str], unit: str) -> pd.DataFrame:
    """Errors of each utterance by jiwer's alignment, in characters (``char``, see `letters`) or words (``word``).

    Example:
        >>> count_errors(["A CAT"], ["A BAT S"], "word").to_dict("records")
        [{'errors': 2, 'length': 2, 'substitutions': 1, 'deletions': 0, 'insertions': 1}]
    """
    import jiwer

    if unit == "char":
        codes: dict[str, str] = {}
        references, hypotheses = _one_code_each(references, codes), _one_code_each(hypotheses, codes)
    process = jiwer.process_characters if unit == "char" else jiwer.process_words
    result = process(references, hypotheses)
    rows = []
    for alignment, reference in zip(result.alignments, result.references):
        counts = {"substitute": 0, "delete": 0, "insert": 0}
        for chunk in alignment:
            if chunk.type != "equal":
                size = max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
                counts[chunk.type] += size
        rows.append([sum(counts.values()), len(reference), *counts.values()])
    return pd.DataFrame(rows, columns=["errors", "length", "substitutions", "deletions", "insertions"])


def _one_code_each(texts: list[str], codes: dict[str, str]) -> list[str]:
    """Texts in which every character is one code, for jiwer counts codes; private ones for those that are several."""

    def code(letter: str) -> str:
        return letter if len(letter) == 1 else codes.setdefault(letter, chr(0xF0000 + len(codes)))

    return [text if text.isascii() else "".join(map(code, letters(text))) for text in texts]
