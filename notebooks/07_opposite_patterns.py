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
# # Opposite patterns?
#
# **Is the gap between groups smallest where the encoder does a task best, or largest?**
# The paper that asked this book's question {cite}`herron2026` claims opposite answers for two tasks.
# For speaker identification, the most accurate layers are the fairest; for speech recognition, the most accurate layers
# are the least fair. This book calls that claim C2.

# %% tags=["remove-cell"]
import fairlib  # not found? In a clone: pip install -c constraints.txt -e ".[book]", then restart the kernel

# %% tags=["parameters", "hide-input"]
encoder = "mini-hubert-long"  # any encoder that fairlib.load_encoder knows
corpus = "speechocean762"  # any corpus that fairlib.load_corpus knows
group = "age_group"  # a column of the corpus that describes its speakers
seeds = 5  # speaker probes trained per layer; the character probe is trained once
force = False  # compute the encoder's outcomes again, even where they are stored or published

# %% tags=["hide-input"]
from IPython.display import Markdown, display
from myst_nb import glue

import fairlib
from fairlib import findings
from fairlib.base.tasks import TASKS
from fairlib.bias import BiasError, group_bias
from fairlib.book.provenance import provenance_box, rerun
from fairlib.display import charts, patterns, sentences, words
from fairlib.findings import opposite, questions, reference
from fairlib.findings.views import identify_or_verify

charts.use_book_renderer()

twins = {encoder: f"random:{encoder}"} if len(findings.controls(encoder)) == 2 else {}
names = (encoder, *twins.values())
asked = questions.ask(
    {
        "sid": lambda: [identify_or_verify(name, corpus, group, seeds, force) for name in names],
        "asr": lambda: [fairlib.probe_characters(name, corpus, force=force).query("unit == 'char'") for name in names],
    },
    by=group,
).or_stop()
contrast, said, why_not = asked.contrast, list(asked.said), dict(asked.refused)
bias, slopes, own, found = {}, {}, {}, {}
for task, outcomes in asked.outcomes.items():
    try:
        every = fairlib.error_slopes(outcomes, by=group, twins=twins)
    except BiasError as error:  # an encoder of too few layers
        why_not[task] = str(error)
        said.append(f"{TASKS[task].heading}: {error}")
        continue
    bias[task] = findings.mark_saturated(group_bias(outcomes, by=group), outcomes)
    slopes[task] = every[every["contrast"] == contrast]
    own[task] = slopes[task][slopes[task]["encoder"] == encoder]
    found[task] = opposite.c2_finding(own[task], task, contrast)
for task, why in why_not.items():
    found[task] = findings.not_asked(TASKS[task].c2_claim, opposite.RULE, why)
if said:
    display(Markdown(words.bullets(said)))

# %% tags=["remove-input", "remove-output"]
for task, finding in found.items():
    glue(f"{task}_pattern", finding.sentence)
    glue(f"{task}_pattern_verdict", finding.verdict)
glue("pattern_criterion", opposite.RULE)

# %% [markdown]
# If the claim holds, the dots of the first chart rise from left to right, and those of the second fall.

# %% tags=["hide-input"]
for task, table in bias.items():
    display(patterns.gap_over_error(task, table, encoder, contrast))

# %% [markdown]
# **The answer.**
#
# - **Speaker identification:** *{glue:text}`sid_pattern_verdict`.* {glue:text}`sid_pattern`
# - **Speech recognition:** *{glue:text}`asr_pattern_verdict`.* {glue:text}`asr_pattern`
#
# <details class="more"><summary>The rule behind these verdicts</summary>
#
# {glue:text}`pattern_criterion`
#
# </details>

# %% [markdown]
# ## Why this is easy to get wrong
#
# Suppose that a layer changes nothing about fairness: at every layer, the odds of an error are twice as high for one
# group as for the other.
# As the error falls from layer to layer, the *ratio* of the groups' error rates then rises towards two, and their
# *difference* falls towards zero.
# Judged by ratios, the best layers look least fair; judged by differences, they look fairest.
# Both patterns come from the scale alone.
# Even the odds ratio is not quite free of this: people differ, and averaging over people pulls it a little towards one,
# most where half of all answers are wrong.
#
# So we measure a *slope*: how much the log odds ratio changes, from layer to layer, when the log odds of the error
# change by one.
# From it we subtract two slopes: the one that a constant odds ratio between persons would give, and the one of the same
# network before training.
# What remains is what training did.
# [Chapter 4](04_measuring_bias.ipynb) shows that the slope beyond a constant odds ratio finds patterns planted among these
# people, at the error rates of pocket-hubert, and that the scale does not mislead it.
# Less the untrained twin's, the slope is less certain: each answer above says what would have been detected.

# %% [markdown]
# ## The slope, and what is subtracted from it
#
# The verdict rests on the first line of each chart: the encoder's slope less its untrained twin's, over all layers.
# An interval that includes zero shows no pattern.

# %% tags=["hide-input"]
for task, table in slopes.items():
    rows = opposite.slope_rows(table, task, contrast)
    if len(rows):
        display(patterns.slopes_chart(task, rows, opposite.slope_title(table, task, contrast)))

# %% [markdown]
# ### Does it need different layers at all?
#
# The error of one and the same layer can be moved as well.
# Among few candidates a voice is easier to find than among many, and a probe that is trained for longer makes fewer
# errors.
# If the gap follows the error in the same way then, the layers have added nothing.

# %% tags=["remove-input"]
ruled = []
for task in slopes:
    steps = reference.reference_steps(task, encoder, corpus, group, seeds)
    beside = reference.against_reference(asked.outcomes[task], steps, encoder, group, contrast)
    ruled.append((TASKS[task].heading, reference.reference_sentence(beside, encoder)))
Markdown(words.bullets(ruled))

# %% [markdown]
# At equal error, a difference between layers cannot come from the error.

# %% tags=["remove-input"]
if "sid" in slopes:
    matched = reference.at_equal_error(encoder, corpus, group, contrast, seeds)
    display(Markdown(words.bullets([(TASKS["sid"].heading, reference.equal_error_sentence(matched))])))

# %% [markdown]
# ### Does the scale matter?

# %% tags=["remove-input"]
for task, table in own.items():
    display(Markdown(f"{TASKS[task].heading}: {opposite.scales_title(table, task, contrast)}."))

# %% [markdown]
# <details class="more"><summary>The slope on three scales</summary>

# %% tags=["remove-input"]
if own:
    display(charts.captioned("slopes", opposite.slopes_table(own, contrast)))

# %% [markdown]
# </details>

# %% [markdown]
# ## All families together
#
# One encoder is an anecdote.
# This is the mean slope over published encoders, one of each family and depth.
# The same people are resampled for all of them, and differences between the encoders are part of the interval.
# They share these people, and some learnt from the features of others, so they are not independent studies.
# How much encoders differ is estimated from these few alone, which makes the intervals wider.

# %% tags=["remove-input"]
together = opposite.families_together(corpus, group)
if len(together):
    display(charts.captioned("families", opposite.families_table(together, contrast)))
else:
    display(Markdown(f"Of {corpus} and {group} no two encoders are published."))

# %% [markdown]
# ## What could be wrong
#
# - **Few layers, and one that weighs most.** The convolutions (`cnn`) make many more errors than the blocks, so the slope
#   mostly compares that layer with all others. The rows without it show how much is left.
# - **The probe.** A gap also changes with the error when the layer stays and only the probe's training changes.
#   The untrained twin, whose layers say little about speech, shows how much of a slope needs no training at all.

# %% [markdown]
# <details class="more"><summary>Limits of these data, groups and encoders</summary>

# %% tags=["remove-input"]
Markdown(sentences.cautions("asr", encoder, corpus, group))

# %% [markdown]
# </details>

# %% [markdown]
# ## Rerun it
#
# The command that made this page; put another encoder, corpus or group in its place:

# %% tags=["remove-input"]
parameters = dict(encoder=encoder, corpus=corpus, group=group, seeds=seeds, force=force)
rerun("opposite-patterns", parameters)

# %% [markdown]
# ## Exercises
#
# :::{exercise} Look
# :label: patterns-look
# Take the first chart and cover the convolutions (layer `cnn`) with a finger.
# Does a pattern remain?
# Then leave that layer out, and compare the test with what you saw.
# :::
#
# :::{solution-start} patterns-look
# :class: dropdown
# :::
#
# The charts of slopes already have rows without `cnn`; here is the encoder's own slope by hand, its twin's not subtracted.
# A pattern that disappears with a single layer is a statement about that layer, and should be reported as one.

# %% tags=["solution"]
import fairlib

outcomes = fairlib.probe_speakers(encoder, corpus, seeds=seeds)
columns = ["contrast", "scale", "excess", "excess_low", "excess_high", "p"]
without = fairlib.error_slopes(outcomes[outcomes["layer"] != "cnn"], by=group)
without[columns].round(2)

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Try
# :label: patterns-try
# Simulate outcomes in which every layer has the same odds ratio (`fairlib.bias.simulation.constant_odds`), at error rates
# from one to forty in a hundred.
# Which of the three scales changes with the error, and in which direction?
# :::
#
# :::{solution-start} patterns-try
# :class: dropdown
# :::
#
# No layer is less fair than another, and yet the difference rises with the error and the ratio falls.
# Seen on one scale alone, this looks like a law about layers, but it is a law about scales.
# What goes beyond it (`excess`) is close to zero on every scale.

# %% tags=["solution"]
import fairlib
from fairlib.bias.simulation import constant_odds, simulate_outcomes

worse, other = constant_odds([0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4], 0.7)
study = simulate_outcomes({"quiet": worse, "clear": other}, speakers=100)
columns = ["scale", "slope", "null", "excess", "p"]
fairlib.error_slopes(study, by="group")[columns].round(2)

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Build
# :label: patterns-build
# Where there is no gap at all, the *size* of the measured gap is chance.
# Does chance have a pattern too?
# Simulate studies without any gap whose layers differ in error, and see how the size of the measured gap changes with the
# error.
# :::
#
# :::{solution-start} patterns-build
# :class: dropdown
# :::
#
# The measured size of a gap that does not exist follows the noise, and the noise of an error rate is largest where half of
# all answers are wrong.
# So even without any gap, the size of the difference grows with the error, and such a correlation means nothing where no
# layer shows a gap.

# %% tags=["solution"]
import numpy as np
import pandas as pd
from scipy import stats

from fairlib.bias.simulation import simulate_outcomes

levels = np.array([0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4])
correlations = []
for number in range(40):
    study = simulate_outcomes({"one": levels, "other": levels}, speakers=30, layer_correlation=0.2, seed=number)
    sums = study.groupby(["layer", "group"])[["errors", "length"]].sum()
    rates = (sums["errors"] / sums["length"]).unstack()
    correlations.append(stats.spearmanr(levels, (rates["one"] - rates["other"]).abs()).statistic)
print(f"mean rank correlation of error and size of the difference, nothing planted: {np.mean(correlations):+.2f}")
pd.Series(correlations).describe()[["min", "50%", "max"]].round(2).to_frame("over forty studies")

# %% [markdown]
# :::{solution-end}
# :::
#
# ## The next question
#
# This encoder was never trained on text.
# What happens to the gaps when it is? [The next chapter](08_fine_tuning.ipynb) compares encoders before and after
# fine-tuning.
#
# ## Provenance

# %% tags=["remove-input"]
provenance_box(asked.runs, parameters, chapter="opposite-patterns", findings=list(found.values()))
