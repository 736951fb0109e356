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
# **The question.** Is the gap between groups of speakers smallest where the encoder does a task best, or largest?
# The paper that asked this book's question {cite}`herron2026` claims opposite answers for two tasks: for speaker identification,
# the fairest layers are the best ones; for speech recognition, the best layers are the least fair.
#
# **The answer.** Speaker identification: *{glue:text}`sid_pattern_verdict`*. {glue:text}`sid_pattern`
# Speech recognition: *{glue:text}`asr_pattern_verdict`*. {glue:text}`asr_pattern`
#
# **How it was judged.** {glue:text}`pattern_criterion`

# %% tags=["remove-cell"]
import fairlib  # not found? In a clone: pip install -c constraints.txt -e ".[book]", then restart the kernel

# %% tags=["parameters", "hide-input"]
encoder = "pocket-hubert"  # any encoder that fairlib.load_encoder knows
corpus = "speechocean762"  # any corpus that fairlib.load_corpus knows
group = "age_group"  # a column of the corpus that describes its speakers
seeds = 5  # speaker probes trained per layer; the character probe is trained once
force = False  # compute the encoder's outcomes again, even where they are stored or published

# %% [markdown]
# ## Why this is easily got wrong
#
# Suppose that a layer changes nothing about fairness: the odds of an error are twice as high for one group as for the
# other, at every layer.
# As the error falls from layer to layer, the *ratio* of the groups' errors then rises towards two, and their
# *difference* falls towards nothing.
# Who looks at ratios sees the best layers as the least fair; who looks at differences, as the fairest.
# Neither has seen anything but the scale.
# Even the odds ratio of two groups is not quite free of this: people differ, and averaging over people pulls it a little
# towards one, most where half of all answers are wrong.
#
# So we measure a slope: by how much the gap changes, from layer to layer, when the error's log odds change by one.
# And we subtract two slopes from it: the one that a single odds ratio between persons would give at all layers, and the
# one of the same network before any training.
# What remains is what training did.
# [Measuring bias](04_measuring_bias.ipynb) shows that this test finds planted patterns, with the very people and errors
# of this chapter, and is not fooled by the scale.

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import Markdown, display
from myst_nb import glue

import fairlib
from fairlib import findings
from fairlib.bias import BiasError, group_bias
from fairlib.bias.association import error_slopes
from fairlib.book.provenance import provenance_box, rerun
from fairlib.display import charts, sentences, words
from fairlib.findings import questions, ruler
from fairlib.findings.cells import numbers
from fairlib.findings.opposite import (
    RULE,
    c2_finding,
    families_together,
    primary,
    scales_title,
    slope_rows,
    slope_title,
)
from fairlib.findings.views import identify_or_verify
from fairlib.tasks import TASKS

charts.use_book_renderer()

twins = {encoder: f"random:{encoder}"} if len(findings.controls(encoder)) == 2 else {}
asked = questions.ask(
    {
        "sid": lambda: [identify_or_verify(name, corpus, group, seeds, force) for name in (encoder, *twins.values())],
        "asr": lambda: [
            fairlib.probe_characters(name, corpus, force=force).query("unit == 'char'")
            for name in (encoder, *twins.values())
        ],
    },
    by=group,
).or_stop()
contrast, why_not = asked.contrast, dict(asked.refused)
runs, bias, slopes, found = {}, {}, {}, {}
for task, outcomes in asked.outcomes.items():
    try:
        every = error_slopes(outcomes, by=group, twins=twins)
    except BiasError as error:  # an encoder of too few layers
        why_not[task] = str(error)
        continue
    runs[task] = outcomes
    bias[task] = findings.mark_saturated(group_bias(outcomes, by=group), outcomes)
    slopes[task] = every[every["contrast"] == contrast]
    found[task] = c2_finding(every[every["encoder"] == encoder], task, contrast)
for task, why in why_not.items():
    found[task] = findings.not_asked(TASKS[task].c2_claim, RULE, why)
said = [
    *asked.said,
    *(f"{TASKS[task].heading}: {why}" for task, why in why_not.items() if task not in asked.refused),
]
if said:
    display(Markdown(words.bullets(said)))

# %% tags=["remove-input", "remove-output"]
for task, finding in found.items():
    glue(f"{task}_pattern", finding.sentence)
    glue(f"{task}_pattern_verdict", finding.verdict)
glue("pattern_criterion", RULE)

# %% [markdown]
# ## Gap over error, layer by layer
#
# If the claim holds, the dots of the first chart rise from left to right, and those of the second fall.

# %% tags=["hide-input"]
for task, outcomes in runs.items():
    rows = findings.gaps(bias[task], encoder, contrast).drop(columns="error", errors="ignore")
    error = findings.mean_error(outcomes[outcomes["encoder"] == encoder]).set_index("layer")["error"]
    points = rows.assign(error=rows["layer"].map(error), estimate=rows["estimate"].astype(float))
    display(
        charts.gap_against_error(
            points,
            title=f"{TASKS[task].heading}: the gap at each layer over the layer's error",
            description=f"One dot for each layer of {words.encoder_label(encoder)}, {TASKS[task].title}. "
            + sentences.describe_gaps(bias[task], encoder, contrast),
        )
    )

# %% [markdown]
# ## The slope, and what is subtracted from it
#
# Each line below is a slope beyond that of one odds ratio: by how much the log odds ratio changes when the error's log
# odds change by one.
# That of the encoder less its untrained twin, over all layers, is what the verdict rests on.
# A stroke that touches zero shows no pattern.

# %% tags=["hide-input"]
for task, table in slopes.items():
    rows = slope_rows(table, task, contrast)
    if len(rows):
        display(
            charts.forest(
                rows,
                x_title="slope of the log odds ratio of error",
                title=f"{TASKS[task].heading}: {slope_title(slopes[task], task, contrast)}",
                notes="Strokes: 95 % intervals over speakers. Orange: p below 0.05.",
                description="; ".join(
                    f"{row.name}: {words.interval(row.estimate, row.low, row.high)}" for row in rows.itertuples()
                ),
            )
        )

# %% [markdown]
# ### A ruler: the error moved without changing the layer
#
# The error of one and the same layer can be moved, too.
# Among few candidates a voice is easier to find than among many; a probe that is trained for longer errs less.
# If the gap goes with the error in the same way then, the layers have added nothing to it.

# %% tags=["remove-input"]
ruled = []
for task, outcomes in runs.items():
    steps = ruler.ruler(task, encoder, corpus, group, seeds)
    beside = ruler.against_ruler(outcomes, steps, encoder, group, contrast) if len(steps) else pd.DataFrame()
    told = ruler.ruler_sentence(beside, encoder) if len(beside) else "no ruler is at hand."
    ruled.append((TASKS[task].heading, told))
Markdown(words.bullets(ruled))

# %% [markdown]
# On the other two scales the same question can have another answer:

# %% tags=["remove-input"]
for task, table in slopes.items():
    display(Markdown(f"{TASKS[task].heading}: {scales_title(table[table['encoder'] == encoder], task, contrast)}."))
if slopes:
    every = pd.concat(slopes.values())
    every = every[every["encoder"] == encoder]
    shown = pd.concat([primary(every, task, contrast).reset_index() for task in slopes])
    table = pd.DataFrame(
        {
            "task": [TASKS[task].title for task in shown["task"]],
            "scale": shown["scale"].map(words.SCALE_WORDS),
            "slope": numbers("log odds", shown["slope"]),
            "one odds ratio gives": numbers("log odds", shown["null"]),
            "beyond it": numbers("log odds", *(shown[name] for name in ("excess", "excess_low", "excess_high"))),
            "p": numbers("p", shown["p"]),
            "would be detected": numbers("size", shown["detectable"]),
        }
    )
    display(
        charts.table(
            table,
            "Slopes of the gap on the error's log odds, over all layers, less the untrained twin's where there is one",
        )
    )

# %% [markdown]
# ## All families together
#
# One encoder is an anecdote.
# The table gives the mean slope over encoders that are published for these people, one of each family and depth; the same
# people are resampled for all of them, and where the encoders differ by more than chance, that is part of the interval.
# They share people, and some learned from the features of others: they are not as many independent studies.

# %% tags=["remove-input"]
together = families_together(corpus, group)
if len(together):
    together = together[(together["contrast"] == contrast) & (together["scale"] == "log_odds")]
    shown = pd.DataFrame(
        {
            "task": [TASKS[task].title for task in together["task"]],
            "layers": together["layers"],
            "less their twins": together["twin"].notna().map({True: "yes", False: "no"}),
            "encoders": together["encoders"],
            "mean slope": numbers("log odds", *(together[name] for name in ("excess", "excess_low", "excess_high"))),
            "p": numbers("p", together["p"]),
            "would be detected": numbers("size", together["detectable"]),
        }
    )
    display(
        charts.table(shown, "Mean slopes beyond one odds ratio, over published encoders, one of each family and depth")
    )
else:
    display(Markdown(f"Of {corpus} and {group} no two encoders are published."))

# %% [markdown]
# ## What could be wrong
#
# - **Few layers, and one that weighs most.** The convolutions (`cnn`) err much more than the blocks, so that the slope is
#   mostly that layer against all others; the rows without it show how much is left.
# - **The probe.** A gap also changes with the error when the layer stays and only the probe's training changes.
#   The random twin, whose layers say little of speech, shows how much of a slope needs no training at all.

# %% tags=["remove-input"]
Markdown(sentences.cautions("asr", encoder, corpus, group))

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
# Then leave that layer out and let the test say what you saw.
# :::
#
# :::{solution-start} patterns-look
# :class: dropdown
# :::
#
# The table has rows without `cnn` already; here is the same by hand.
# A pattern that goes when a single layer goes is a statement about that layer, and should be reported as one.

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
# Make outcomes in which every layer has one odds ratio (`fairlib.bias.simulation.constant_odds`), from one to forty errors in
# a hundred.
# Which of the three scales goes with the error, and which way?
# :::
#
# :::{solution-start} patterns-try
# :class: dropdown
# :::
#
# Nothing about these layers is less fair than about others, and yet the difference rises with the error and the ratio
# falls.
# Whoever looks at one of the two alone has found a law of layers; it is a law of scales.
# What goes beyond it (`excess`) is about nothing on every scale.

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
# Where there is no gap at all, the *size* of what is measured is luck.
# Does luck have a pattern too?
# Simulate studies without any gap whose layers differ in error, and see how the size of the gap goes with the error.
# :::
#
# :::{solution-start} patterns-build
# :class: dropdown
# :::
#
# The size of a gap that is not there follows its own noise, and the noise of an error rate is largest where half of all
# answers are wrong.
# So even among layers without any gap, the size of a difference goes with the error, and a correlation of sizes where no
# layer shows a gap means nothing.

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
# Whatever the pattern, it is that of an encoder that was never told what anybody said.
# What happens to the gaps when it is, is [the next question](08_fine_tuning.ipynb).
#
# ## Provenance

# %% tags=["remove-input"]
provenance_box(asked.runs, parameters, chapter="opposite-patterns", findings=list(found.values()))
