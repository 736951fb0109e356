"""Phone by phone: which sounds carry the gap, and whether other texts could make it."""

from __future__ import annotations

import pandas as pd

from fairlib.bias import group_bias, layer_order
from fairlib.findings.cells import with_interval
from fairlib.findings.wording import estimate_of, say
from fairlib.outcomes.mix import same_mix

VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
_CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split()
PHONE_CLASSES = dict.fromkeys(VOWELS, "vowel") | dict.fromkeys(_CONSONANTS, "consonant")
# What a reader who knows no ARPAbet hears: the letters in capitals.
SOUNDS = {
    "AA": "fAther", "AE": "cAt", "AH": "cUt", "AO": "lAw", "AW": "cOW", "AY": "hIde", "B": "Be", "CH": "CHeese",
    "D": "Do", "DH": "THe", "EH": "rEd", "ER": "hURt", "EY": "AtE", "F": "Fee", "G": "Green", "HH": "He", "IH": "It",
    "IY": "EAt", "JH": "Gee", "K": "Key", "L": "Lee", "M": "Me", "N": "kNee", "NG": "piNG", "OW": "OAt", "OY": "tOY",
    "P": "Pea", "R": "Read", "S": "Sea", "SH": "SHe", "T": "Tea", "TH": "THink", "UH": "hOOd", "UW": "tWO", "V": "Vee",
    "W": "We", "Y": "Yield", "Z": "Zoo", "ZH": "pleaSure",
}  # fmt: skip


def mixes_table(by_phone: pd.DataFrame, by: str, encoder: str) -> pd.DataFrame:
    """The gap in phones at each layer as counted, with one mix of phones, and with one mix of phones and durations, log
    odds ratios.

    Args:
        by_phone: outcomes of ``PhoneProbe(by_phone=True)``.
    """
    own = by_phone[by_phone["encoder"] == encoder]
    tables = {
        "as counted": own, "same phones": same_mix(own, by, ["phone"]),
        "same phones and durations": same_mix(own, by, ["phone", "duration"]),
    }  # fmt: skip
    rows = pd.DataFrame({"layer": layer_order(own["layer"].unique())})
    for name, outcomes in tables.items():
        bias = group_bias(outcomes, by=by, permutations=200).query("scale == 'log_odds'").set_index("layer")
        bias = bias[bias["contrast"] == bias["contrast"].iloc[0]]
        rows[name] = [with_interval("log odds", bias.loc[layer]) for layer in rows["layer"]]
    return rows


def carriers(kinds: pd.DataFrame, layer: str, most: int = 5) -> pd.DataFrame:
    """The phones that add most to the gap at a layer, whichever way, the largest first."""
    at = kinds[kinds["layer"] == layer]
    return at.loc[at["points"].abs().sort_values(ascending=False).index].head(most)


def enough(kinds: pd.DataFrame, layer: str) -> bool:
    """Whether there are phones whose odds can be estimated."""
    return bool(kinds.loc[kinds["layer"] == layer, "estimate"].notna().any())


def sentences(kinds: pd.DataFrame, layer: str) -> list[str]:
    """Which phones carry the gap at a layer and how much it varies between them; empty where there are not `enough`."""
    if not enough(kinds, layer):
        return []
    return [carriers_sentence(kinds, layer), between_sentence(kinds, layer)]


def carriers_sentence(kinds: pd.DataFrame, layer: str, lowest: str = "cnn") -> str:
    """Which phones carry the gap at a layer, and which of them at the first layer too."""
    found = carriers(kinds, layer)
    facts = {
        "layer": layer, "whole": float(kinds.loc[kinds["layer"] == layer, "points"].sum()),
        "phones": [{"phone": row.phone, "sound": SOUNDS.get(row.phone, row.phone), "points": row.points}
                   for row in found.itertuples()],
        "lowest": lowest, "same": None,
    }  # fmt: skip
    if lowest in set(kinds["layer"]) and lowest != layer:
        facts["same"] = len(set(found["phone"]) & set(carriers(kinds, lowest)["phone"]))
    return say("by_phone.carriers", **_compared(kinds), **facts)


def _compared(kinds: pd.DataFrame) -> dict[str, str]:
    return {name: str(kinds[name].iloc[0]) for name in ("by", "contrast")}


def phones_shown(kinds: pd.DataFrame, layer: str, most: int = 12) -> pd.DataFrame:
    """Rows of the phones that add most at a layer, as `fairlib.charts.heat` takes them: vowels first, in each class the
    largest gap at that layer on top."""
    chosen = carriers(kinds[kinds["estimate"].notna()], layer, most)
    order = chosen.sort_values(["class", "estimate"], ascending=[False, False])["phone"].tolist()
    rows = kinds[kinds["phone"].isin(order) & kinds["estimate"].notna()].copy()
    rows["at"] = rows["phone"].map(order.index)
    rows = rows.sort_values("at", kind="stable")
    return rows.assign(
        name=[f"{phone} {SOUNDS.get(phone, '')}" for phone in rows["phone"]], value=rows["estimate"],
        marked=(rows["low"] > 0) | (rows["high"] < 0),
    )  # fmt: skip


def between_sentence(kinds: pd.DataFrame, layer: str) -> str:
    """How much the gap varies between phones, and how many show one."""
    at = kinds[(kinds["layer"] == layer) & kinds["estimate"].notna()]
    widest = at.loc[at["estimate"].abs().idxmax()]
    facts = {
        "phones": len(at), "between": at["between"].iloc[0], "worse": int((at["low"] > 0).sum()),
        "better": int((at["high"] < 0).sum()), "widest": widest["phone"], "gap": estimate_of(widest),
    }  # fmt: skip
    return say("by_phone.between", **_compared(kinds), **facts)
