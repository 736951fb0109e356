# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Robustness
#
# Every answer of this book depends on choices: this {term}`probe` and not that, this scale, this channel, these people, this
# encoder.
# **Would other choices, as good as these, have given other answers?**

# %% tags=["remove-cell"]
import fairlib  # not found? In a clone: pip install -c constraints.txt -e ".[book]", then restart the kernel

# %% tags=["parameters", "hide-input"]
encoder = "mini-hubert-long"  # any encoder that fairlib.load_encoder knows
corpus = "speechocean762"  # any transcribed corpus that fairlib.load_corpus knows
group = "age_group"  # a column of the corpus that describes its speakers
seeds = 5  # speaker probes trained per layer; the others are trained once
force = False  # compute the encoder's outcomes again, even where they are stored or published

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import Markdown, display
from myst_nb import glue

from fairlib import findings
from fairlib.base.tasks import TASKS
from fairlib.bias import only_groups
from fairlib.book.provenance import provenance_box, rerun
from fairlib.display import charts, sentences, words
from fairlib.display.choices import choices_chart
from fairlib.findings import claims, questions, robustness, variance

charts.use_book_renderer()

ways = {
    "sid": lambda: robustness.speaker_choices(encoder, corpus, group, seeds, force),
    "asr": lambda: robustness.speech_choices(encoder, corpus, force),
}
every = {}
asked = questions.ask(
    {task: lambda task=task: [every.setdefault(task, ways[task]())[robustness.BOOK]] for task in ways}, by=group
).or_stop()
book, contrast = asked.outcomes, asked.contrast
choices = {task: {name: only_groups(rows, group, asked.groups) for name, rows in every[task].items()} for task in book}
tables = {task: robustness.gaps_of(made, group, contrast) for task, made in choices.items()}
if "sid" in tables:
    adjusted = robustness.adjusted_choice(book["sid"], group, contrast, corpus)
    tables["sid"] = pd.concat([tables["sid"], adjusted], ignore_index=True)
if asked.said:
    display(Markdown(words.bullets(asked.said)))
found = {
    task: robustness.does_it_hold(table, group, contrast, f"In {TASKS[task].title}") for task, table in tables.items()
} | {task: findings.refused("robust", why) for task, why in asked.refused.items()}

# %% tags=["hide-input"]
drawn = [choices_chart(task, table, group, contrast) for task, table in tables.items()]
display(*drawn[:1])

# %% tags=["remove-input", "remove-output"]
for task, finding in found.items():
    glue(f"{task}_robust", finding.sentence)
    glue(f"{task}_robust_verdict", finding.verdict)
glue("robust_criterion", robustness.ROBUST_CRITERION)

# %% [markdown]
# **The answer.** Does the conclusion hold, whatever is chosen?
#
# - **Speaker identification:** *{glue:text}`sid_robust_verdict`.* {glue:text}`sid_robust`
# - **Speech recognition:** *{glue:text}`asr_robust_verdict`.* {glue:text}`asr_robust`
#
# <details class="more"><summary>The rule behind these verdicts</summary>
#
# {glue:text}`robust_criterion`
#
# </details>
#
# *How to read it.* This is a *multiverse analysis* {cite:p}`steegen2016`: the same question, with every available
# alternative.
# Each line is one way to ask it, at the layer that is best in that way. *Again* means trained again, from another seed.
# The ways measure different things, so the dots may differ. What matters is on which side of zero the intervals lie, and
# which of them include it.

# %% [markdown]
# <details class="more"><summary>The other task, and every choice in numbers and on three scales</summary>

# %% tags=["remove-input"]
display(*drawn[1:])
for task, table in tables.items():
    named = {"heading": TASKS[task].heading, "by": group, "contrast": contrast}
    display(charts.captioned("choices", robustness.choices_table(table), **named))

# %% [markdown]
# Difference, ratio and odds ratio cannot share an axis, but their signs can be compared.
# Where one interval excludes zero and another does not, the evidence is weak.

# %% tags=["remove-input"]
units = {**book, "phone": choices.get("asr", {}).get(robustness.PHONES)}
units = {TASKS[task].title: rows for task, rows in units.items() if rows is not None}
charts.captioned("three_scales", robustness.scales_at_best(units, group, contrast), by=group, contrast=contrast)

# %% [markdown]
# </details>

# %% [markdown]
# ## Which choices move the conclusion most?

# %% tags=["remove-input"]
lines = [robustness.farthest_sentence(task, table) for task, table in tables.items()]
Markdown("\n".join(f"- {line}" for line in lines if line))

# %% [markdown]
# ## Every claim, every encoder
#
# The earlier chapters are about one encoder.
# Here their claims are judged for every encoder of the book, by the same rules and on the same people, except those whom an
# encoder heard in its own training.

# %% tags=["remove-input"]
everywhere = claims.judged(corpus, group)
verdicts = {instrument: rows for instrument, rows in everywhere.groupby("instrument", sort=False)}
glue("agreement", claims.agreement(everywhere, encoder), display=False)
if everywhere.empty:
    display(Markdown(f"*Of other encoders nothing is published for {corpus}.*"))
Markdown("\n".join(f"- {line}" for line in [*claims.told(everywhere), claims.agreement(everywhere, encoder)]))

# %% [markdown]
# Encoders that agree are not independent witnesses: they are tested on the same people.
#
# <details class="more"><summary>Every verdict on every encoder</summary>
#
# An empty cell is a question that cannot be asked there: only a fine-tuned encoder can be compared with what it was
# before fine-tuning, and where a gap comes from cannot be said without outcomes of the untrained twin.

# %% tags=["hide-input"]
for instrument in verdicts:
    table = claims.verdicts_table(verdicts[instrument])
    display(charts.captioned("verdicts", table, instrument=instrument))

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>Other people: women and men in other corpora</summary>
#
# Other corpora record other groups, so they cannot check the gap above.
# They show whether the gap between women and men differs there, at the layer that identifies these people best.
# Where there is no interval, one side has almost no errors.

# %% tags=["hide-input"]
elsewhere = claims.other_people(encoder, corpus, "sex")
if len(elsewhere):
    display(charts.table(elsewhere, "Speaker identification on other corpora: the gap by sex, with 95 % intervals"))
else:
    display(Markdown("*Nothing is published of speakers of other corpora.*"))

# %% [markdown]
# </details>

# %% [markdown]
# ## Where the uncertainty comes from
#
# The intervals of this book allow for the people who are tested.
# Other things could have been different, too: the people whose speech trains the probe, the probe's seed, and the seed of
# the encoder's pretraining.
# Each dot is the standard deviation of the gap when one of them is drawn again, with its 95 % interval; in brackets, how many
# people, draws or encoders it rests on.

# %% tags=["hide-input"]
sources = variance.variance_sources(encoder, corpus, group)
if len(sources):
    display(
        charts.forest(
            variance.variance_rows(sources),
            x_title="standard deviation of the gap, log odds",
            format="~f",
            title=variance.variance_title(sources),
            description=" ".join(variance.variance_sentences(sources)),
        )
    )
    display(Markdown(words.bullets(variance.variance_sentences(sources))))
else:
    display(Markdown(f"*Of this encoder nothing is published for {corpus}.*"))

# %% [markdown]
# With few draws the intervals are wide. Pretraining seeds come as pairs of encoders that share everything else.
# The main figures of speaker identification average several probes, so the probe's seed matters less there than here.

# %% [markdown]
# ## What could be wrong
#
# - **Choices that nobody made.** What was not computed cannot be shown: other corpora, other groups, other kinds of pooling,
#   other decoders. They might give other answers.
# - **The ways are not independent.** They share people, recordings and mostly the encoder. Many intervals on one side are not
#   as many proofs.
# - **Some ways ask another question.** Verification, a few candidates and equal shares change what an error is. If they
#   disagree, that says something about the question, and need not be a fault of the answer.

# %% [markdown]
# <details class="more"><summary>Limits of these data, groups and encoders</summary>

# %% tags=["remove-input"]
Markdown(sentences.cautions("sid", encoder, corpus, group))

# %% [markdown]
# </details>

# %% [markdown]
# ## Rerun it
#
# The command that made this page; put another encoder, corpus or group in its place:

# %% tags=["remove-input"]
parameters = dict(encoder=encoder, corpus=corpus, group=group, seeds=seeds, force=force)
rerun("robustness", parameters)

# %% [markdown]
# ## Exercises
#
# :::{exercise} Look
# :label: robustness-look
# Find the choice that lies farthest from the book's own, on either chart.
# Is it a mistake, another question, or another answer?
# :::
#
# :::{solution-start} robustness-look
# :class: dropdown
# :::
#
# There is no rule for this, but a habit helps.
# First ask what counts as an error under that choice, then who is compared with whom, then how many errors there are at all:
# where almost nothing goes wrong, a log odds ratio rests on few utterances, and its interval is wide.
# The code gives the error rate and the number of people behind each choice.

# %% tags=["solution"]
import pandas as pd

from fairlib.findings import robustness

choices = robustness.speaker_choices(encoder, corpus, group, seeds)
rows = []
for name, outcomes in choices.items():
    sums = outcomes.groupby("layer")[["errors", "length"]].sum()
    best = (sums["errors"] / sums["length"]).idxmin()
    people = outcomes["speaker_id"].nunique()
    rows.append([name, best, round(sums.loc[best, "errors"] / sums.loc[best, "length"], 3), people])
pd.DataFrame(rows, columns=["choice", "best layer", "error", "people"])

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Try
# :label: robustness-try
# How much of the uncertainty comes from the probe's seed, and how much from the people?
# Compare the spread of the seeds' gaps with the width of one seed's interval.
# :::
#
# :::{solution-start} robustness-try
# :class: dropdown
# :::
#
# Seeds share all people and all recordings, so they differ by the probe alone.
# Their spread is small beside the interval, which comes from the people: more seeds do not make the book's numbers more
# certain about other people.

# %% tags=["solution"]
import fairlib
from fairlib.findings import main_contrast, mean_error

outcomes = fairlib.probe_speakers(encoder, corpus, seeds=seeds)
error = mean_error(outcomes)
layer = outcomes[outcomes["layer"] == error.loc[error["error"].idxmin(), "layer"]]
contrast = main_contrast(fairlib.group_bias(layer, by=group, permutations=50), encoder)
gaps = {}
for seed, mine in layer.groupby("seed"):
    bias = fairlib.group_bias(mine, by=group, permutations=50).set_index(["contrast", "scale"])
    gaps[seed] = bias.loc[(contrast, "log_odds"), ["estimate", "low", "high"]].astype(float)
gaps = {seed: tuple(row) for seed, row in gaps.items()}
estimates = [row[0] for row in gaps.values()]
print(f"from seed to seed the gap goes from {min(estimates):+.2f} to {max(estimates):+.2f};")
print(f"one seed's interval goes from {gaps[0][1]:+.2f} to {gaps[0][2]:+.2f}")

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Build
# :label: robustness-build
# Leave one person out, then another, and so on: does the gap at the best layer depend on anybody in particular?
# Write the loop, and find the person (by number) whose absence moves it most.
# :::
#
# :::{solution-start} robustness-build
# :class: dropdown
# :::
#
# This is a jackknife over people.
# If a single person moves the gap by much, the finding is about that person as much as about the group. Listen to their
# recordings before you say anything about others.

# %% tags=["solution"]
import numpy as np

import fairlib
from fairlib.bias.contrasts import contrast_groups
from fairlib.findings import main_contrast, mean_error

outcomes = fairlib.probe_speakers(encoder, corpus, seeds=seeds)
contrast = main_contrast(fairlib.group_bias(outcomes, by=group, permutations=50), encoder)
error = mean_error(outcomes)
layer = outcomes[outcomes["layer"] == error.loc[error["error"].idxmin(), "layer"]]
sums = layer.dropna(subset=[group]).groupby(["speaker_id", group])[["errors", "length"]].sum().reset_index(group)
member = (sums[group] == contrast_groups(contrast)[0]).to_numpy()


def log_odds_ratio(kept):
    odds = []
    for side in (member & kept, ~member & kept):
        wrong, all_ = sums.loc[side, "errors"].sum() + 0.5, sums.loc[side, "length"].sum() + 1
        odds.append(np.log(wrong / (all_ - wrong)))
    return odds[0] - odds[1]


everybody = np.ones(len(sums), dtype=bool)
whole = log_odds_ratio(everybody)
without = np.array([log_odds_ratio(np.arange(len(sums)) != place) for place in range(len(sums))])
far = np.abs(without - whole).argmax()
print(f"with all {len(sums)} people {whole:+.2f}; without speaker {sums.index[far]} {without[far]:+.2f}")

# %% [markdown]
# :::{solution-end}
# :::
#
# ## The next question
#
# All this was about small encoders of our own, on one corpus.
# The method works for any.
# What about *your* encoder, on speech of people whom you care about? [The last chapter](12_your_own_model.ipynb) shows how.
#
# ## Provenance

# %% tags=["remove-input"]
provenance_box(
    asked.runs,
    parameters,
    chapter="robustness",
    findings={TASKS[task].heading: finding for task, finding in found.items()},
)
