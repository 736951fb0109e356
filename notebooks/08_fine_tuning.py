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
# An encoder that was pretrained on speech alone is now trained to write down what it hears.
# **Does fine-tuning change the gaps between groups of speakers?**
# The paper that asked this book's question {cite}`herron2026` claims that it does not: bias that pretraining has set is hard
# to remove.

# %% tags=["remove-cell"]
import fairlib  # not found? In a clone: pip install -c constraints.txt -e ".[book]", then restart the kernel

# %% tags=["parameters", "hide-input"]
encoder = "mini-hubert-long-asr-librispeech"  # an encoder fine-tuned for speech recognition
pretrained = ""  # the encoder it was made from; left empty for our own, whose records say it
corpus = "speechocean762"  # any corpus that fairlib.load_corpus knows
group = "age_group"  # a column of the corpus that describes its speakers
seeds = 5  # speaker probes trained per layer; the character probe is trained once
force = False  # compute the encoder's outcomes again, even where they are stored or published

# %% tags=["hide-input"]
from IPython.display import HTML, Markdown, display
from myst_nb import glue

import fairlib
from fairlib import findings
from fairlib.base.tasks import TASKS
from fairlib.bias import bias_differences, group_bias, layer_order
from fairlib.book.provenance import provenance_box, rerun
from fairlib.display import charts, sentences, words
from fairlib.display.links import explorer_link
from fairlib.encoders import finetuned_from
from fairlib.findings import questions, where
from fairlib.findings.layers import layer_errors, told
from fairlib.findings.views import identify_or_verify

charts.use_book_renderer()

before = pretrained or finetuned_from(encoder)[0]
probes = {
    "asr": lambda name, anew: fairlib.probe_characters(name, corpus, force=anew).query("unit == 'char'"),
    "sid": lambda name, anew: identify_or_verify(name, corpus, group, seeds, anew),
}
three = (encoder, before, "logmel")
asked = questions.ask(
    {task: lambda ask=ask: [ask(name, force and name == encoder) for name in three] for task, ask in probes.items()},
    by=group,
).or_stop()
outcomes, contrast, bias, found, between = asked.outcomes, asked.contrast, {}, {}, {}
for task, rows in outcomes.items():
    bias[task] = findings.mark_saturated(group_bias(rows, by=group), rows)
    layers = layer_order(rows.loc[rows["encoder"] == encoder, "layer"].unique())
    differences = bias_differences(rows, group, [((encoder, layer), (before, layer)) for layer in layers])
    found[task] = findings.after_fine_tuning(bias[task], differences, encoder, contrast)
    between[task] = where.do_layers_differ(rows, group, encoder, contrast)
for task, why in asked.refused.items():
    found[task], between[task] = findings.refused("tuned", why), findings.refused("where", why)
if asked.said:
    display(Markdown(words.bullets(asked.said)))

# %% tags=["remove-input", "remove-output"]
for task, finding in found.items():
    glue(f"{task}_tuned", finding.sentence)
    glue(f"{task}_tuned_verdict", finding.verdict)
for task, finding in between.items():
    glue(f"{task}_between", finding.sentence)
    glue(f"{task}_between_verdict", where.where_verdict(finding))
glue("tuned_criterion", findings.TUNED_CRITERION)
glue("between_criterion", where.WHERE_CRITERION)

# %% tags=["remove-input"]
for task in outcomes:
    display(charts.gaps_of_task(task, bias[task], contrast, encoder))

# %% [markdown]
# **The answer.**
#
# - **Speech recognition:** *{glue:text}`asr_tuned_verdict`.* {glue:text}`asr_tuned`
# - **Speaker identification:** *{glue:text}`sid_tuned_verdict`.* {glue:text}`sid_tuned`
#
# **Does the gap differ between the layers of the fine-tuned encoder?**
#
# - **Speech recognition:** *{glue:text}`asr_between_verdict`.* {glue:text}`asr_between`
# - **Speaker identification:** *{glue:text}`sid_between_verdict`.* {glue:text}`sid_between`
#
# <details class="more"><summary>The rules behind these verdicts</summary>
#
# - *Unchanged?* {glue:text}`tuned_criterion`
# - *Different between layers?* {glue:text}`between_criterion`
#
# </details>
#
# Fine-tuning starts from the pretrained weights and uses transcribed speech.
# The convolutions, and so layer `cnn`, stay as they were.
# Both encoders are probed in the same way on the same people, and compared in pairs: each person is compared with
# themselves, which is more sensitive than comparing the bands.
#
# <details class="more"><summary>How much the gap changed at each layer</summary>

# %% tags=["remove-input"]
changed = findings.tuned_table(found)
charts.table(changed, "How much the gap's log odds ratio changed at each layer, in pairs, with 95 % intervals")

# %% [markdown]
# Layer `cnn` is the same before and after. A change there is noise of the probe's training, which these intervals do not
# include; at other layers a change of that size means little.
#
# </details>

# %% tags=["remove-input"]
HTML(explorer_link(corpus, encoder, group, contrast, list(outcomes)))

# %% [markdown]
# ## What fine-tuning did to the task itself
#
# A gap should be read beside the error rates that it compares.
# Whether speakers and phones are then classified best at different depths is judged at the end of
# [chapter 3](03_encoders_and_layers.ipynb).

# %% tags=["hide-input"]
for task in outcomes:
    errors = layer_errors(outcomes[task])
    display(charts.encoders_by_layer(errors, **told(errors, encoder)))

# %% [markdown]
# ## What could be wrong
#
# - **What it was fine-tuned on.** Fine-tuning moves an encoder towards the speech it hears, here a few hours of English
#   audio books read aloud by volunteers. Other speech may have other effects.
# - **Probes are trained too.** The probe on every layer has heard speech of both groups, whatever the encoder heard.
#   What fine-tuning does to a complete recogniser, with its own last layer, is another question.

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
parameters = dict(encoder=encoder, pretrained=pretrained, corpus=corpus, group=group, seeds=seeds, force=force)
rerun("fine-tuning", parameters)

# %% [markdown]
# ## Exercises
#
# :::{exercise} Look
# :label: tuning-look
# Fine-tuning left the convolutions as they were, so layer `cnn` cannot have changed.
# Are the probes' answers there the same before and after?
# What would it mean if they were not?
# :::
#
# :::{solution-start} tuning-look
# :class: dropdown
# :::
#
# The code compares them one by one.
# If any differed, the change would be noise of the probe, and every other change in this chapter would have to be larger
# to count. Probes of characters do differ there a little: their training does not repeat exactly.

# %% tags=["solution"]
import fairlib
from fairlib.encoders import finetuned_from

before = pretrained or finetuned_from(encoder)[0]
two = [fairlib.probe_speakers(name, corpus, seeds=seeds).query("layer == 'cnn'") for name in (before, encoder)]
both = two[0].merge(two[1], on=["utterance_id", "seed"], suffixes=("_before", "_after"))
same = (both["predicted_before"] == both["predicted_after"]).mean()
print(f"{len(both):,} answers at layer cnn, {same:.1%} of them the same before and after")

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Try
# :label: tuning-try
# Which task does fine-tuning improve, which does it harm, and from which layer on?
# Compare the change of the error with the change of the gap. Does one follow the other?
# :::
#
# :::{solution-start} tuning-try
# :class: dropdown
# :::
#
# Fine-tuning for one task can harm another: what helps to recognise words need not help to recognise voices.
# On the scale of log odds, a gap can stay while errors fall, or move while they stay.

# %% tags=["solution"]
import pandas as pd

import fairlib
from fairlib.encoders import finetuned_from
from fairlib.findings import main_contrast, mean_error

before = pretrained or finetuned_from(encoder)[0]
probes = {"speakers": lambda name: fairlib.probe_speakers(name, corpus, seeds=seeds)}
probes["characters"] = lambda name: fairlib.probe_characters(name, corpus).query("unit == 'char'")
columns = {}
for task, ask in probes.items():
    outcomes = pd.concat([ask(before), ask(encoder)])
    bias = fairlib.group_bias(outcomes, by=group, permutations=200).query("scale == 'log_odds'")
    bias = bias[bias["contrast"] == main_contrast(bias, encoder)]
    for what, table in {"error": mean_error(outcomes), "gap": bias.rename(columns={"estimate": "gap"})}.items():
        wide = table.pivot(index="layer", columns="encoder", values=what)
        columns[f"{task}: change of {what}"] = wide[encoder] - wide[before]
pd.DataFrame(columns).loc[fairlib.layer_order(outcomes["layer"])].astype(float).round(2)

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Build
# :label: tuning-build
# A mean can hide who benefits.
# For each person, take the character error rate at the best layer before and after.
# What share of each group did fine-tuning help, and what is the median gain?
# :::
#
# :::{solution-start} tuning-build
# :class: dropdown
# :::
#
# If both groups gain equally, the gap stays although all are served better.
# A group of whom fewer gain, and by less, falls behind even where the gap of the means hardly moves.
# Those who did not gain deserve a closer look: the mean hides them.

# %% tags=["solution"]
import pandas as pd

import fairlib
from fairlib.encoders import finetuned_from
from fairlib.findings import mean_error

before = pretrained or finetuned_from(encoder)[0]
rates = {}
for when, name in {"before": before, "after": encoder}.items():
    outcomes = fairlib.probe_characters(name, corpus).query("unit == 'char'")
    error = mean_error(outcomes)
    best = outcomes[outcomes["layer"] == error.loc[error["error"].idxmin(), "layer"]]
    sums = best.groupby(["speaker_id", group])[["errors", "length"]].sum()
    rates[when] = sums["errors"] / sums["length"]
gained = (rates["before"] - rates["after"]).groupby(group)
pd.DataFrame(
    {
        "people": gained.size(),
        "share who gained": gained.agg(lambda values: (values > 0).mean()).round(2),
        "median gain, points": (100 * gained.median()).round(1),
    }
)

# %% [markdown]
# :::{solution-end}
# :::
#
# ## The next question
#
# Fine-tuning comes late. Gaps that it finds came earlier: in pretraining, or before it, in the signal.
# [The next chapter](09_along_pretraining.ipynb) goes back to pretraining: when does the gap open, and would it have opened
# if the encoder had heard children too?
#
# ## Provenance

# %% tags=["remove-input"]
provenance_box(
    asked.runs,
    parameters,
    chapter="fine-tuning",
    findings={TASKS[task].heading: finding for task, finding in found.items()}
    | {f"{TASKS[task].heading}, between layers": finding for task, finding in between.items()},
)
