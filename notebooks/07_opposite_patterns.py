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
# **How it was judged**, by a rule that was written down before the encoder's results were seen:
# {glue:text}`pattern_criterion`
# The answer above is on the scale of the log odds ratio, the one that has no such pattern of its own; the other two
# stand beside it below.

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
# Neither has seen anything but their ruler.
# So each pattern here is set against what one odds ratio for all layers would give.
# [Measuring bias](04_measuring_bias.ipynb) shows that this test finds planted patterns and is not fooled by the metric.

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import Markdown, display
from myst_nb import glue

import fairlib
from fairlib import findings
from fairlib.bias import BiasError, group_bias
from fairlib.bias.association import bias_error_association
from fairlib.book.provenance import provenance_box, rerun
from fairlib.display import charts, sentences, words
from fairlib.findings import questions
from fairlib.findings.opposite import RULE, c2_finding, scales_title
from fairlib.findings.views import identify_or_verify
from fairlib.tasks import TASKS

charts.use_book_renderer()

asked = questions.ask(
    {
        "sid": lambda: [identify_or_verify(encoder, corpus, group, seeds, force)],
        "asr": lambda: [fairlib.probe_characters(encoder, corpus, force=force).query("unit == 'char'")],
    },
    by=group,
).or_stop()
contrast, why_not, runs = asked.contrast, dict(asked.refused), {}
bias, associations, found = {}, {}, {}
for task, outcomes in asked.outcomes.items():
    try:
        every = bias_error_association(outcomes, by=group)
    except BiasError as error:  # an encoder of too few layers
        why_not[task] = str(error)
        continue
    runs[task] = outcomes
    bias[task] = findings.mark_saturated(group_bias(outcomes, by=group), outcomes)
    associations[task] = every[every["contrast"] == contrast]
    found[task] = c2_finding(every, task, contrast)
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
    error = findings.mean_error(outcomes).set_index("layer")["error"]
    points = rows.assign(error=rows["layer"].map(error), estimate=rows["estimate"].astype(float))
    link = associations[task].set_index("scale").loc["log_odds"]
    display(
        charts.gap_against_error(
            points,
            title=f"{TASKS[task].heading}: the size of the gap {link['association']}"
            if link["association"] in ("rises with error", "falls with error")
            else f"{TASKS[task].heading}: no pattern of gap and error beyond the metric's own",
            description=f"One dot for each layer of {words.encoder_label(encoder)}, {TASKS[task].title}. "
            + sentences.describe_gaps(bias[task], encoder, contrast),
        )
    )

# %% [markdown]
# ## The three scales, each against its own ruler
#
# A stroke that touches zero is no pattern; a dot inside the grey is a pattern that the metric makes by itself.

# %% tags=["hide-input"]
for task, table in associations.items():
    display(
        charts.associations(
            table,
            title=f"{TASKS[task].heading}: {scales_title(table)}",
            description="; ".join(
                f"{words.SCALE_WORDS[row.scale]}: correlation "
                f"{words.interval(row.estimate, row.low, row.high)}, one odds ratio for all layers would give "
                f"{words.interval(row.null_mean, row.null_low, row.null_high)}"
                for row in table.itertuples()
            ),
        )
    )

# %% tags=["remove-input"]
if associations:
    shown = pd.concat(associations.values())
    table = pd.DataFrame(
        {
            "task": [TASKS[task].title for task in shown["task"]],
            "scale": shown["scale"].map(words.SCALE_WORDS),
            "correlation": [words.two_lines(*values) for values in shown[["estimate", "low", "high"]].values],
            "one odds ratio gives": [
                words.two_lines(*values) for values in shown[["null_mean", "null_low", "null_high"]].values
            ],
            "p": [words.p_value(value) for value in shown["p"]],
            "pattern": shown["association"],
            "the paper's claim": shown["verdict"],
        }
    )
    caption = "Rank correlation over layers between error and size of the gap, on three scales"
    display(charts.table(table, caption))

# %% [markdown]
# ## What could be wrong
#
# - **Few layers.** A pocket encoder has eight layers, and they are made from each other. A rank correlation over eight
#   of them is a coarse thing; an encoder of full size has thirteen or twenty-five.
# - **One size of the gap.** The gap counts by its size, whichever group it disfavours. Where its sign changes between
#   layers, look at the charts and not at the correlation.

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
# One layer of eight weighs much in a rank correlation.
# A pattern that goes when a single layer goes is a statement about that layer, and should be reported as one.

# %% tags=["solution"]
import fairlib

outcomes = fairlib.probe_speakers(encoder, corpus, seeds=seeds)
columns = ["contrast", "scale", "estimate", "low", "high", "null_mean", "association"]
without = fairlib.bias_error_association(outcomes[outcomes["layer"] != "cnn"], by=group)
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
# Whoever looks at one of the two alone has found a law of layers; it is a law of rulers.

# %% tags=["solution"]
import fairlib
from fairlib.bias.simulation import constant_odds, simulate_outcomes

worse, other = constant_odds([0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4], 0.7)
study = simulate_outcomes({"quiet": worse, "clear": other}, speakers=100)
columns = ["scale", "estimate", "null_mean", "association"]
fairlib.bias_error_association(study, by="group")[columns].round(2)

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
