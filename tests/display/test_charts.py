"""Charts: they say what is seen, keep colours and layers, show intervals, and ask no other machine for anything."""

import base64
import io
import itertools
import json
import re

import altair as alt
import numpy as np
import pandas as pd
import pytest
import vl_convert

from fairlib.bias import SCALES, group_bias, group_errors
from fairlib.bias.simulation import simulate_outcomes
from fairlib.display import charts, comparisons, drawing, rendering, sentences
from fairlib.display.words import short
from fairlib.findings import gaps, mark_saturated
from fairlib.findings.layers import layer_errors

LAYERS = ["10", "2", "cnn", "0", "1"]
WORDS = {"title": "Children are wronged more often", "description": "Two lines, children above adults."}


def outcomes(groups=("adult", "child"), encoders=("pocket", "random:pocket", "logmel")) -> pd.DataFrame:
    """Simulated outcomes: 5 speakers a group, 6 utterances each, errors falling from layer to layer."""
    rng = np.random.default_rng(0)
    rows = []
    for encoder in encoders:
        layers = ["logmel"] if encoder == "logmel" else LAYERS
        for (place, layer), (worse, group), speaker, utterance in itertools.product(
            enumerate(sorted(layers)), enumerate(groups), range(5), range(6)
        ):
            share = 0.75 - 0.1 * place + 0.02 * worse
            rows.append(
                {
                    "encoder": encoder, "layer": layer, "task": "asr", "unit": "char", "probe": "context", "seed": 0,
                    "corpus": "made",
                    "utterance_id": f"{group}{speaker}-{utterance}", "speaker_id": f"{group}{speaker}",
                    "errors": rng.binomial(30, share), "length": 30, "age_group": group,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def made():
    return outcomes()


@pytest.fixture(scope="module")
def errors(made):
    return mark_saturated(group_errors(made, by="age_group", resamples=100), made)


@pytest.fixture(scope="module")
def bias(made):
    return mark_saturated(group_bias(made, by="age_group", resamples=100), made)


@pytest.fixture(scope="module")
def every(made, errors, bias):
    titles = dict.fromkeys(SCALES, "The gap is largest somewhere")
    return [
        charts.error_by_layer(errors, encoder="pocket", **WORDS),
        charts.bias_by_layer(bias, **WORDS),
        *charts.three_scales(bias, titles=titles, description=WORDS["description"]),
        charts.encoders_by_layer(layer_errors(made, resamples=100), **WORDS),
    ]


def data_of(spec: dict, part: dict) -> list[dict]:
    return part["data"].get("values") or spec["datasets"][part["data"]["name"]]


def fields(bias: pd.DataFrame) -> pd.DataFrame:
    rows = bias[(bias["scale"] == "log_odds") & (bias["encoder"] != "logmel")]
    return rows.assign(name=rows["encoder"], value=rows["estimate"], text=rows["estimate"].map(short), marked=False)


def parts(spec: dict) -> list[dict]:
    return [spec, *itertools.chain.from_iterable(parts(layer) for layer in spec.get("layer", []))]


def test_every_chart_is_valid_titled_described_and_as_wide_as_the_page(every):
    for chart in every:
        spec = chart.to_dict()
        assert spec["title"]["text"] and spec["description"].strip()
        assert spec["width"] == "container"
        vl_convert.vegalite_to_vega(spec)  # refuses what Vega-Lite cannot compile


@pytest.mark.parametrize(
    ("scale", "begins"),
    [
        ("difference", "difference of error in percentage points with"),
        ("ratio", "ratio of error with"),
        ("log_odds", "log odds ratio of error with"),
    ],
)
def test_a_gap_is_described_in_the_numbers_of_its_scale(bias, scale, begins):
    """Whoever cannot see the charts of the three scales is read three gaps, not one under three names."""
    contrast = bias["contrast"].iloc[0]
    drawn = charts.three_scales(bias, encoder="pocket", contrast=contrast)[list(drawing.SCALES).index(scale)]
    first = gaps(bias, "pocket", contrast, scale).iloc[0]
    number = {"difference": f"{100 * first['estimate']:+.1f}", "ratio": f"{first['estimate']:.2f}"}
    number = number.get(scale, f"{first['estimate']:+.2f}").replace("-", "−")
    assert f", {begins} 95 percent" in drawn.description
    assert f"pocket: {number} [" in drawn.description


def test_one_layer_is_told_once():
    one = simulate_outcomes({"child": [0.4], "adult": [0.2]}, by="age_group", seed=1)
    errors, bias = group_errors(one, by="age_group"), group_bias(one, by="age_group")
    contrast = bias["contrast"].iloc[0]
    assert sentences.errors_title(bias, "simulated", contrast).endswith("at 1 of 1 layer")
    assert sentences.describe_errors(errors, "simulated").count("at 0") == 2  # one for each group
    assert sentences.describe_gaps(bias, "simulated", contrast).count("at 0") == 1


def said(chart) -> str:
    return " ".join(chart.title.text)


def test_words_that_are_not_given_come_from_the_facts(errors, bias):
    contrast = bias["contrast"].iloc[0]
    chosen = {"encoder": "pocket", "contrast": contrast}
    chart = charts.error_by_layer(errors, bias=bias, **chosen)
    assert said(chart) == sentences.errors_title(bias, "pocket", contrast)
    assert chart.description == sentences.describe_errors(errors, "pocket")
    assert (
        said(charts.error_by_layer(errors, bias=bias, counted="words", **chosen)) == f"{said(chart)}, counted in words"
    )
    titles = sentences.scale_titles(bias, "pocket", contrast)
    assert [said(one) for one in charts.three_scales(bias, **chosen)] == list(titles.values())
    # Of an untrained encoder, too, which no name marks as the one asked about.
    twin = bias[bias["encoder"] != "pocket"]
    chart = charts.bias_by_layer(twin, encoder="random:pocket", contrast=contrast)
    assert said(chart) == sentences.gap_title(twin, "random:pocket", contrast)
    title = sentences.gap_title(twin, "random:pocket", contrast, counted="phones")
    assert title.startswith("In phones, ") and title.lower().endswith(said(chart).lower())
    with pytest.raises(ValueError, match="chart's title is empty"):
        charts.error_by_layer(errors, encoder="pocket")


@pytest.mark.parametrize("empty", ["title", "description"])
def test_a_chart_without_words_is_refused(errors, bias, empty):
    words = WORDS | {empty: " "}
    with pytest.raises(ValueError, match=f"chart's {empty} is empty"):
        charts.bias_by_layer(bias, **words)
    with pytest.raises(ValueError, match=f"chart's {empty} is empty"):
        charts.error_by_layer(errors, encoder="pocket", **words)


def test_axes_are_named_and_layers_run_from_the_convolutions_upwards(every):
    for chart in every:
        channels = [part.get("encoding", {}) for part in parts(chart.to_dict())]
        xs = [channel["x"] for channel in channels if "field" in channel.get("x", {})]
        assert xs and all(x["scale"]["domain"] == ["cnn", "0", "1", "2", "10"] for x in xs)
        assert all(x["axis"]["title"] for x in xs)
        titles = {channel["y"]["axis"]["title"] for channel in channels if "y" in channel}
        assert len(titles) == 1 and titles.pop()


def test_every_line_has_its_interval(every):
    for chart in every:
        marks = [part["mark"] for part in parts(chart.to_dict()) if "mark" in part]
        bands = [mark["color"] for mark in marks if mark["type"] == "area" and mark["color"] != drawing.PALE]
        assert bands == [mark["color"] for mark in marks if mark["type"] == "line"] != []


def test_the_grey_band_is_the_null_of_the_trained_encoder(bias):
    spec = charts.bias_by_layer(bias, "difference", **WORDS).to_dict()
    (grey,) = [
        part for part in parts(spec) if part.get("mark", {}).get("color") == drawing.PALE and "y2" in part["encoding"]
    ]
    drawn = pd.DataFrame(data_of(spec, grey)).set_index("layer").loc[["cnn", "0", "1", "2", "10"]]
    mine = bias[(bias["encoder"] == "pocket") & (bias["scale"] == "difference")].set_index("layer").loc[drawn.index]
    for end in ("null_low", "null_high"):
        assert np.allclose(drawn[end], 100 * mine[end], atol=1e-5)
    without = charts.bias_by_layer(bias.drop(columns=["null_low", "null_high"]), **WORDS).to_dict()
    assert "Grey" not in " ".join(without["title"]["subtitle"])


def test_log_mel_is_a_horizontal_line_with_a_band_and_the_twin_is_dashed(bias):
    spec = charts.bias_by_layer(bias, **WORDS).to_dict()
    assert any(part.get("mark", {}).get("type") == "rect" for part in parts(spec))
    lines = [part["mark"] for part in parts(spec) if part.get("mark", {}).get("type") == "line"]
    assert sorted(len(set(line["strokeDash"])) and line["strokeDash"] != [1, 0] for line in lines) == [False, True]


def test_saturated_layers_are_hollow_and_said_to_be(errors, made):
    assert errors["saturated"].any() and not errors["saturated"].all()
    chart = charts.error_by_layer(errors, encoder="pocket", **WORDS)
    assert "saturated" in " ".join(chart.to_dict()["title"]["subtitle"])
    plain = charts.error_by_layer(errors.drop(columns="saturated"), encoder="pocket", **WORDS)
    assert "saturated" not in " ".join(plain.to_dict()["title"]["subtitle"])


def test_groups_keep_their_colours_whoever_stands_beside_them():
    alone = charts.group_colours(["child", "adult"])
    among = charts.group_colours(["elder", "child", "female", "adult", "male", "teenager"])
    assert {group: among[group] for group in alone} == alone
    assert len(set(among.values())) == len(among)


def test_more_groups_than_colours_are_still_drawn():
    groups = [f"accent {number}" for number in range(11)]
    many = outcomes(groups, ["pocket"])
    chart = charts.error_by_layer(group_errors(many, by="age_group", resamples=20), **WORDS)
    vl_convert.vegalite_to_vega(chart.to_dict())


# The colours as they are, and as each becomes on a dark page.
PAGES = {"light": str, "dark": rendering.DARK.get}


@pytest.mark.parametrize("page", PAGES)
def test_the_palette_is_told_apart_by_people_with_colour_vision_deficiencies(page):
    # Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
    simulations = {
        "usual": np.eye(3),
        "protanopia": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
        "deuteranopia": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
        "tritanopia": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
    }  # fmt: skip
    leading = list(map(PAGES[page], drawing.PALETTE[:4]))  # groups that corpora record most; others differ by marker
    # The encoder, its twin, log-mel.
    beside = [PAGES[page](colour) for colour in (drawing.INK, drawing.TWIN, drawing.PALETTE[2])]
    for name, matrix in simulations.items():

        def far(one, other, matrix=matrix):
            seen = [_lab(np.clip(np.asarray(matrix) @ _linear(colour), 0, 1)) for colour in (one, other)]
            return np.linalg.norm(seen[0] - seen[1])

        # The two sides of one contrast, (adult, child) and (female, male), must be far apart; all others apart.
        for one, other in itertools.combinations(range(4), 2):
            least = 20 if {one, other} in ({0, 1}, {2, 3}) else 8
            assert far(leading[one], leading[other]) > least, (name, leading[one], leading[other])
        for one, other in itertools.combinations(beside, 2):
            assert far(one, other) > 20, (name, one, other)


@pytest.mark.parametrize("page", PAGES)
def test_colours_stand_out_from_the_page(page):
    paper = _luminance(PAGES[page](drawing.PAPER))
    for least, colours in {3: [*drawing.PALETTE, drawing.TWIN, drawing.GREY], 4.5: [drawing.INK, drawing.SOFT]}.items():
        for colour in colours:
            lighter, darker = sorted([_luminance(PAGES[page](colour)), paper], reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= least, colour


def test_every_house_colour_has_its_dark_one():
    house = {
        *drawing.PALETTE,
        drawing.TWIN,
        drawing.INK,
        drawing.SOFT,
        drawing.GREY,
        drawing.PALE,
        drawing.GRID,
        drawing.PAPER,
    }
    assert house == set(rendering.DARK)
    assert all(f"--{light[1:]}: {dark};" in rendering.theme_css() for light, dark in rendering.DARK.items())


def test_a_chart_on_a_page_has_no_colour_that_does_not_follow_the_page(every):
    for chart in every:
        html = rendering.mimebundle(chart.to_dict())["text/html"]
        assert "var(--0072B2,#0072B2)" in html or "var(--1F2430,#1F2430)" in html
        fixed = re.sub(r"var\(--[0-9A-F]{6},#[0-9A-F]{6}\)", "", html)
        assert not re.findall(r"\"(#[0-9A-Fa-f]{3,8}|black|white|gray|grey)\"", fixed)


def test_the_data_behind_a_chart_can_be_taken_along(errors, bias):
    chart = charts.error_by_layer(errors, encoder="pocket", **WORDS)
    html = rendering.mimebundle(chart.to_dict())["text/html"]
    (encoded,) = re.findall(r'href="data:text/csv;base64,([^"]+)"', html)
    taken = pd.read_csv(io.BytesIO(base64.b64decode(encoded)), dtype={"layer": str})
    mine = errors[errors["encoder"].isin(["pocket", "logmel"])]
    both = taken.merge(mine, on=["encoder", "group", "layer"], suffixes=("", "_true"))
    assert len(both) == len(taken) == len(mine)
    assert np.allclose(both["error"], both["error_true"], rtol=1e-5)
    assert np.allclose(both["low"], both["low_true"], rtol=1e-5)


def test_the_page_asks_no_other_machine_and_has_a_still_picture_for_print_and_without_scripts(every):
    for chart in every:
        bundle = rendering.mimebundle(chart.to_dict())
        namespaces = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
        assert set(re.findall(r"https?://[^\s\"'<>]+", bundle["text/html"])) <= namespaces
        assert "require" not in bundle["text/html"]
        assert "<svg" in bundle["text/html"] and WORDS["description"] in bundle["text/html"]
        assert bundle["image/png"].startswith("iVBOR")  # PNG in base 64


def test_markup_in_a_title_stays_text(bias):
    chart = charts.bias_by_layer(bias, title="</script><b>bold</b> & more", description="</script><i>")
    html = rendering.mimebundle(chart.to_dict())["text/html"]
    assert html.count("</script>") == 1
    assert "<b>bold" not in html and "&lt;b&gt;bold" in html


def test_the_book_renderer_gives_html_and_png(bias):
    before = alt.renderers.active
    try:
        charts.use_book_renderer()
        data = charts.bias_by_layer(bias, **WORDS)._repr_mimebundle_(None, None)
        assert {"text/html", "image/png"} <= set(data if isinstance(data, dict) else data[0])
    finally:
        alt.renderers.enable(before)


def test_the_bundle_is_one_script_in_a_function_of_its_own(tmp_path):
    text = rendering.write_bundle(tmp_path / "new" / "vega.js").read_text(encoding="utf-8")
    assert text.startswith("(function") and text.rstrip().endswith("})();") and "vegaEmbed" in text
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["vega.js"]


def test_values_that_json_does_not_know_become_gaps(bias):
    broken = bias.copy()
    broken.loc[broken["layer"] == "0", ["low", "high"]] = [-np.inf, np.inf]
    broken.loc[broken["layer"] == "1", "estimate"] = np.nan
    for scale in SCALES:
        text = json.dumps(charts.bias_by_layer(broken, scale, **WORDS).to_dict())
        assert "NaN" not in text and "Infinity" not in text


def test_log_mel_alone_is_drawn_as_one_layer_with_its_interval(errors, bias):
    drawn = [
        charts.bias_by_layer(bias[bias["encoder"] == "logmel"], **WORDS),
        charts.error_by_layer(errors, encoder="logmel", **WORDS),
    ]
    for chart in drawn:
        marks = [part["mark"] for part in parts(chart.to_dict()) if "mark" in part]
        assert any(mark["type"] == "rule" and mark.get("strokeWidth") == 16 for mark in marks)
        vl_convert.vegalite_to_vega(chart.to_dict())


def test_messages_say_what_to_do(errors, bias):
    with pytest.raises(ValueError, match="choose one of difference, ratio, log_odds"):
        charts.bias_by_layer(bias, "odds", **WORDS)
    with pytest.raises(ValueError, match="which encoder"):
        charts.error_by_layer(errors, **WORDS)
    with pytest.raises(ValueError, match="nothing to draw"):
        charts.bias_by_layer(bias, contrast="cats vs dogs", **WORDS)
    with pytest.raises(ValueError, match="one contrast"):
        charts.bias_by_layer(pd.concat([bias, bias.assign(contrast="a vs b")]), **WORDS)


def test_a_table_is_escaped_and_scrolls_by_itself():
    html = charts.table(pd.DataFrame({"a<b": ["1\n0 to 2", "<i>"]}), "What & why").data
    assert "a&lt;b" in html and "1<br><small>0 to 2</small>" in html and "&lt;i&gt;" in html
    assert "overflow-x:auto" in html and "What &amp; why" in html
    folded = charts.table(pd.DataFrame({"a": [1]}), "What & why", folded=True).data
    assert folded.startswith("<details><summary>What &amp; why</summary>") and "<caption>" not in folded


def _luminance(colour: str) -> float:
    return float(np.array([0.2126, 0.7152, 0.0722]) @ _linear(colour))


def _linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear sRGB, where distances are about as large as they look."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )  # fmt: skip
    xyz = to_xyz @ linear / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


GROWING = pd.DataFrame(
    {
        "line": ["people"] * 3 + ["utterances"] * 3,
        "x": [5, 10, 100] * 2,
        "value": [0.95, 0.94, 0.95, 0.5, 0.49, 0.48],
        "low": [0.9, 0.9, 0.9] + [float("nan")] * 3,
        "high": [1.0, 1.0, 1.0] + [float("nan")] * 3,
    }
)


def test_curves_are_named_at_their_ends_and_have_bands_where_there_are_intervals():
    chart = charts.curves(GROWING, x_title="people", y_title="share", reference=(0.95, "promised"), log_x=True, **WORDS)
    spec = chart.to_dict()
    vl_convert.vegalite_to_vega(spec)
    marks = [part["mark"]["type"] for part in parts(spec) if "mark" in part]
    assert (marks.count("line"), marks.count("area"), marks.count("rule")) == (2, 1, 1)
    said = json.dumps(spec)
    assert "people" in said and "utterances" in said and "promised" in said
    with pytest.raises(ValueError, match="nothing to draw"):
        charts.curves(GROWING.iloc[:0], x_title="people", y_title="share", **WORDS)


def test_curves_that_begin_at_zero_have_equal_factors_equally_long_from_there():
    rows = GROWING.assign(x=[0, 7, 400] * 2)
    spec = charts.curves(rows, x_title="hours", y_title="share", log_x=True, **WORDS).to_dict()
    vl_convert.vegalite_to_vega(spec)
    x = next(part["encoding"]["x"] for part in parts(spec) if part.get("mark", {}).get("type") == "line")
    assert (x["scale"]["type"], x["scale"]["constant"]) == ("symlog", 7)
    assert x["axis"]["values"] == [0, 10, 30, 100, 300]


def test_strips_draw_every_person_once_and_each_groups_mean():
    people = pd.DataFrame({"group": ["a"] * 3 + ["b"] * 2, "value": [0.1, 0.2, 0.3, 0.4, 0.6]})
    spec = charts.strips(people, value_title="error", **WORDS).to_dict()
    vl_convert.vegalite_to_vega(spec)
    dots, bars = (data_of(spec, part) for part in spec["layer"])
    assert sorted(dot["value"] for dot in dots) == [0.1, 0.2, 0.3, 0.4, 0.6]
    assert {bar["group"]: round(bar["value"], 6) for bar in bars} == {"a": 0.2, "b": 0.5}


def test_a_forest_names_every_estimate_and_draws_its_interval(bias):
    rows = bias[bias["scale"] == "log_odds"].assign(name=lambda table: table["encoder"] + " " + table["layer"])
    rows = rows.assign(marked=rows["layer"] == "0")
    spec = charts.forest(rows, x_title="gap", within=0.1, **WORDS).to_dict()
    vl_convert.vegalite_to_vega(spec)
    drawn = max(spec["datasets"].values(), key=len)
    assert [row["name"] for row in drawn] == rows["name"].tolist()
    assert all(row["low"] <= row["estimate"] <= row["high"] for row in drawn)
    assert {row["colour"] for row in drawn if row["name"].endswith(" 0")} == {drawing.PALETTE[1]}


@pytest.mark.parametrize("signed", [True, False])
def test_what_is_written_into_a_map_can_be_read(bias, signed):
    rows = fields(bias)
    rows = rows if signed else rows.assign(value=rows["value"].abs())
    spec = charts.heat(rows, named="encoder", value_title="gap", signed=signed, **WORDS).to_dict()
    vl_convert.vegalite_to_vega(spec)
    drawn = max(spec["datasets"].values(), key=len)
    assert len(drawn) == len(rows) and {"low", "high"} <= set(drawn[0])
    for field in drawn:
        light, dark = sorted((comparisons.luminance(field["fill"]), comparisons.luminance(field["ink"])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3.8


def test_names_stand_as_near_to_their_lines_as_they_can_without_touching():
    names = [f"one-encoder-{number}" for number in range(5)] + ["logmel"]
    rows = [
        {"encoder": name, "layer": layer, "value": value}
        for name, value in zip(names, [0.100, 0.101, 0.102, 0.103, 0.30, 0.04])
        for layer in ("cnn", "0", "1")
    ]
    errors = pd.DataFrame(rows).rename(columns={"value": "error"})
    errors = errors.assign(low=errors["error"], high=errors["error"], unit="speaker", task="sid", n_speakers=9)
    spec = charts.encoders_by_layer(errors, title="t", description="d", height=260).to_dict()
    texts = [layer for layer in spec["layer"] if layer["mark"]["type"] == "text"]
    labels = pd.DataFrame(spec["datasets"][texts[-1]["data"]["name"]]).sort_values("at")
    low, high = next(layer["encoding"]["y"]["scale"]["domain"] for layer in spec["layer"] if "y" in layer["encoding"])
    lines = labels["name"].str.count("\n") + 1
    pixel = (high - low) / 260
    middle = labels["at"] - (lines - 1) * 15 / 2 * pixel  # Vega sets the first line where it is told
    edges = pd.DataFrame({"bottom": middle - lines * 7.5 * pixel, "top": middle + lines * 7.5 * pixel})
    assert (edges["bottom"].to_numpy()[1:] >= edges["top"].to_numpy()[:-1] - 1e-9).all()
    assert edges["bottom"].min() >= low - 1e-9 and edges["top"].max() <= high + 1e-9
    alone = float(middle[labels["name"].str.contains("-4")].iloc[0])
    assert abs(alone - 0.30) <= 16 * pixel  # nothing is near it: it stays with its line, or at the top


def test_no_encoder_has_the_colour_of_log_mel():
    looks = drawing.encoder_looks([f"encoder-{number}" for number in range(8)])
    assert drawing.PALETTE[2] not in {colour for colour, *_ in looks.values()} and len(looks) == 8


def test_layers_of_one_error_are_named_beside_each_other_and_led_to_their_dots():
    points = pd.DataFrame({"layer": list("0123456"), "error": [0.11] * 6 + [0.24], "estimate": 0.9})
    points = points.assign(low=0.5, high=1.3)
    spec = charts.gap_against_error(points, title="t", description="d").to_dict()
    marks = {layer["mark"]["type"]: layer for layer in spec["layer"] if "named" in json.dumps(layer["encoding"])}
    rows = pd.DataFrame(spec["datasets"][marks["text"]["data"]["name"]])
    low, high = marks["text"]["encoding"]["x"]["scale"]["domain"]
    assert np.diff(np.sort(rows["named"])).min() > 0.06 * (high - low)
    assert rows["named"].between(low, high).all() and rows["layer"].tolist() == list("0123456")
    assert marks["rule"]["encoding"]["x2"]["field"] == "named" and (rows["led_from"] == 1.3).all()
