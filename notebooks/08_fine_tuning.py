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
# # After fine-tuning
#
# **The question.** An encoder that has only listened is taught to write down what it hears.
# Do the gaps between groups of speakers change with that, at which layers, and for which task?
# The paper that asked this book's question claims that they do not: what pretraining set is hard to remove.
#
# **The answer.** Writing down speech: *{glue:text}`asr_tuned_verdict`*. {glue:text}`asr_tuned`
# Telling speakers: *{glue:text}`sid_tuned_verdict`*. {glue:text}`sid_tuned`
#
# **How it was judged**, by a rule that was written down before the fine-tuned encoder's results were seen:
# {glue:text}`tuned_criterion`

# %% tags=["parameters", "hide-input"]
encoder = "pocket-hubert-asr-librispeech"  # an encoder fine-tuned for speech recognition
pretrained = ""  # the encoder it was made from; left empty for our own, whose records say it
corpus = "speechocean762"  # any corpus that fairlib.load_corpus knows
group = "age_group"  # a column of the corpus that describes its speakers
seeds = 5  # speaker probes trained per layer; the character probe is trained once
force = False  # compute the encoder's outcomes again, even where they are stored or published

# %% [markdown]
# ## The same probes, before and after
#
# Fine-tuning goes on from the pretrained weights, with transcribed speech; the convolutions stay as they were, and so
# does layer `cnn`.
# Before and after are probed alike, on the same people, and compared in pairs: what a person adds to the gap before, the
# same person adds after.

# %%
import pandas as pd
from IPython.display import Markdown, display
from myst_nb import glue

import fairlib
from fairlib import chapters, charts, findings, sentences, words
from fairlib.bias import bias_differences, group_bias, layer_order
from fairlib.encoders import finetuned_from
from fairlib.layers import layer_errors, told
from fairlib.provenance import provenance_box

charts.use_book_renderer()

before = pretrained or finetuned_from(encoder)[0]
probes = {
    "asr": lambda name, anew: fairlib.probe_characters(name, corpus, force=anew).query("unit == 'char'"),
    "sid": lambda name, anew: fairlib.probe_speakers(name, corpus, seeds=seeds, force=anew),
}
tasks = {"asr": "Writing down speech", "sid": "Telling speakers"}
outcomes, runs, bias, found = {}, [], {}, {}
for task, probe in probes.items():
    tables = [probe(name, force and name == encoder) for name in (encoder, before, "logmel")]
    runs += tables
    outcomes[task] = pd.concat(tables, ignore_index=True)
    bias[task] = findings.mark_saturated(group_bias(outcomes[task], by=group), outcomes[task])
    contrast = findings.main_contrast(bias[task], encoder)
    layers = layer_order(tables[0]["layer"].unique())
    pairs = [((encoder, layer), (before, layer)) for layer in layers]
    differences = bias_differences(outcomes[task], group, pairs)
    found[task] = findings.after_fine_tuning(bias[task], differences, encoder, contrast)

# %% tags=["remove-input", "remove-output"]
for task, finding in found.items():
    glue(f"{task}_tuned", finding.sentence)
    glue(f"{task}_tuned_verdict", finding.verdict)
glue("tuned_criterion", findings.TUNED_CRITERION)

# %% [markdown]
# ## The gap before and after
#
# Where the two bands part, fine-tuning changed the gap; whether it did is judged in pairs, which tells finer than the
# bands.

# %% tags=["hide-input"]
for task in tasks:
    display(
        charts.bias_by_layer(
            bias[task],
            contrast=contrast,
            title=f"{tasks[task]}: {sentences.gap_title(bias[task], encoder, contrast)}",
            description=sentences.describe_gaps(bias[task], encoder, contrast),
        )
    )

# %% [markdown]
# ## What fine-tuning did to the task itself
#
# A gap can only be understood beside the errors that it is a gap between.

# %% tags=["hide-input"]
for task in tasks:
    errors = layer_errors(outcomes[task])
    display(charts.encoders_by_layer(errors, **told(errors, encoder)))

# %% tags=["remove-input"]
rows = []
for task, finding in found.items():
    for row in finding.evidence:
        same = row["p_holm"] != row["p_holm"]  # not one error differs
        difference = "the very same errors" if same else words.interval(row["estimate"], row["low"], row["high"])
        rows.append({"task": tasks[task].lower(), "layer": row["layer"], "after less before": difference})
        rows[-1]["p (Holm)"] = "" if same else f"{row['p_holm']:.3f}"
charts.table(
    pd.DataFrame(rows), "How much the gap's log odds ratio changed at each layer, in pairs, with 95 % intervals"
)

# %% [markdown]
# ## What could be wrong
#
# - **What it was tuned on.** Fine-tuning changes an encoder towards the speech it was tuned on, here a few hours read by
#   adults who grew up with English. Other speech may do otherwise.
# - **Probes are trained too.** The probe on every layer has heard speech of both groups, whatever the encoder heard.
#   What fine-tuning does to a recogniser of its own, with its own last layer, is another question.

# %% tags=["remove-input"]
Markdown(sentences.cautions("asr", encoder, corpus, group))

# %% [markdown]
# ## Rerun it
#
# The command that made this page; put another encoder, corpus or group in its place:

# %% tags=["remove-input"]
parameters = dict(encoder=encoder, pretrained=pretrained, corpus=corpus, group=group, seeds=seeds, force=force)
command = chapters.command("fine-tuning", chapters.check("fine-tuning", parameters))
Markdown(f"```shell\n{command}\n```")

# %% [markdown]
# ## Exercises
#
# 1. Layer `cnn` cannot have changed. What do the two encoders' gaps there tell about the probes?
# 2. Look at the errors of both tasks: which does fine-tuning make better, which worse, and from which layer on?
#    Does the gap follow?
# 3. Run the chapter with `--group sex`, or with an encoder that was tuned on the learners' own corpus if there is one in
#    `fairlib encoders`. What would you want to know before calling its gap fairer?
#
# ## Provenance

# %% tags=["remove-input"]
provenance_box(runs, parameters, chapter="fine-tuning", findings=list(found.values()))
