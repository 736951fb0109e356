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
# # Your own model and corpus
#
# You have recordings and a speech model.
# **Which of your speakers does the model serve worse, from which layer on? And how much can your recordings show?**
# {glue:text}`own_corpus`

# %% tags=["remove-cell"]
import fairlib  # not found? In a clone: pip install -c constraints.txt -e ".[book]", then restart the kernel

# %% tags=["parameters", "hide-input"]
encoder = "mini-hubert-long"  # any encoder that fairlib.load_encoder knows: a hub id or a folder of your own
corpus = "planted"  # your CSV or datasets folder; left as it is, synthetic speech that needs no data
group = "group"  # a column of the corpus that describes its speakers
seeds = 5  # speaker probes trained per layer, each from another seed
force = False  # compute the encoder's outcomes again, even where they are stored or published

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import Markdown, display
from myst_nb import glue

import fairlib
from fairlib import findings
from fairlib.base.tasks import TASKS
from fairlib.bias import group_bias, group_errors, only_groups
from fairlib.book.provenance import provenance_box, rerun
from fairlib.display import charts, sentences, words
from fairlib.findings import questions, speakers, views

charts.use_book_renderer()

people = speakers.speakers_of(corpus)
asks = {
    "sid": lambda name, anew: views.identify_or_verify(name, corpus, group, seeds, anew),
    "asr": lambda name, anew: fairlib.probe_characters(name, corpus, force=anew).query("unit == 'char'"),
}
asked = questions.ask({task: lambda ask=ask: [ask("logmel", False)] for task, ask in asks.items()}, by=group)
signal = dict(zip(asked.outcomes, asked.runs))
by_title = {TASKS[task].title: rows for task, rows in asked.outcomes.items()}
smallest = speakers.smallest_table(by_title, "logmel", by=group)
leading = asked.contrast or speakers.main_contrast_of(people, group)
alike = speakers.are_they_alike(speakers.differences(people, group, leading), group, leading)

# %% tags=["hide-input"]
names = [encoder, *findings.controls(encoder)]
outcomes, bias, found, runs = {}, {}, {}, []
for task in signal:
    tables = [signal[task] if name == "logmel" else asks[task](name, force and name == encoder) for name in names]
    runs += tables
    outcomes[task] = only_groups(pd.concat(tables, ignore_index=True), group, asked.groups)
    bias[task] = findings.mark_saturated(group_bias(outcomes[task], by=group), outcomes[task])
    beside = findings.control_differences(outcomes[task], group, encoder)
    found[task] = {
        "begins": findings.where_bias_begins(bias[task], encoder, leading),
        "whose": findings.whose_gap(bias[task], beside, encoder, leading),
    }

# %% tags=["remove-input"]
if bias:
    display(charts.bias_by_layer(next(iter(bias.values())), encoder=encoder, contrast=leading))

# %% tags=["remove-input", "remove-output"]
for task in asks:
    judged = found.get(task)
    glue(f"own_{task}", judged["begins"].sentence if judged else "This corpus does not allow it.")
    glue(f"own_{task}_verdict", judged["begins"].verdict if judged else "not asked")
glue("own_criterion", findings.BEGINS_CRITERION)
glue("own_corpus", speakers.corpus_sentence(people, corpus))

# %% [markdown]
# **The answer.** Is there a gap from the first layers on?
#
# - **Speaker identification:** *{glue:text}`own_sid_verdict`.* {glue:text}`own_sid`
# - **Speech recognition:** *{glue:text}`own_asr_verdict`.* {glue:text}`own_asr`
#
# <details class="more"><summary>The rule behind these verdicts</summary>
#
# It is the same as in the rest of the book. {glue:text}`own_criterion`
#
# </details>
#
# The chart shows the gap beside two controls: the *untrained twin*, which is the same network randomly initialised, and
# *log-mel*, the plain spectrogram.
# Where the encoder's line runs with log-mel's, the gap was in the signal before any encoder heard it.

# %% [markdown]
# ## Who is in the corpus, and how much can they show?
#
# Look at this before you run anything long. It needs no model: it comes from the recordings and from log-mel alone.

# %% tags=["remove-input"]
charts.table(speakers.sizes_table(people, [group]), "People, utterances and minutes in each group")

# %% tags=["remove-input"]
limits = speakers.cannot_be_told(people, group, least_utterances=4)
limits += [line for line in asked.said if line not in limits]
limits += speakers.too_few_errors(smallest, "logmel")
limits.append(f"{alike.sentence} Whatever else differs may be behind a gap between the groups.")
display(Markdown(words.bullets(limits)))

# %% [markdown]
# If no gap is found, it may be absent, or too small for the number of people.
# How large would it have to be to be detected, with a power of four in five?

# %% tags=["remove-input"]
charts.table(speakers.written(smallest), "The smallest detectable gap, as far as log-mel shows how much people differ")

# %% [markdown]
# <details class="more"><summary>What else is recorded of the speakers?</summary>

# %% tags=["remove-input"]
charts.table(speakers.recorded_table(people), "What the corpus records of its speakers")

# %% [markdown]
# </details>

# %% [markdown]
# ## Every task
#
# Errors, layer by layer, and whether the gap was in the signal already.

# %% tags=["remove-input"]
for task in outcomes:
    errors = group_errors(outcomes[task], by=group)
    display(Markdown(f"**{TASKS[task].heading}.** {words.plain(found[task]['whose'].sentence)}"))
    display(charts.error_by_layer(errors, encoder=encoder, bias=bias[task], contrast=leading))
    lines = sentences.layer_sentences(errors, bias[task], encoder, leading)
    display(Markdown(words.bullets([*lines, sentences.best_layer_sentence(outcomes[task], encoder)])))

# %% [markdown]
# <details class="more"><summary>Every number behind these charts</summary>

# %% tags=["remove-input"]
for task in outcomes:
    table = findings.layer_table(group_errors(outcomes[task], by=group), bias[task], leading)
    display(charts.table(table, f"{TASKS[task].heading}: errors and gaps at every layer, with 95 % intervals"))

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>Does the same rule find a gap between any other groups?</summary>
#
# It was applied to everything that is recorded and can be compared.
# Each verdict is adjusted for all layers and contrasts of its own column, not for the number of columns.

# %% tags=["remove-input"]
rows = []
for task in outcomes:
    own = outcomes[task][outcomes[task]["encoder"] == encoder]
    rows.append(findings.all_contrasts(findings.every_column(own), encoder).assign(task=TASKS[task].title))
if rows:
    display(charts.table(pd.concat(rows), f"Every contrast for {words.encoder_label(encoder)}"))

# %% [markdown]
# </details>

# %% [markdown]
# ## What could be wrong
#
# - **A speaker is also a recording.** If each person was recorded once, a probe may know the room and not the voice.
#   [Chapter 5](05_speaker_identification.ipynb) tests that in several ways, on any corpus.
# - **Few people in the test set.** A recogniser is tested on people it was not trained on: those whose `split` is *test*, or
#   a quarter of all. In a small corpus these are very few.
# - **What was not recorded** cannot be adjusted for, and may be the real reason for a gap.

# %% [markdown]
# <details class="more"><summary>Limits of these data, groups and encoders</summary>

# %% tags=["remove-input"]
Markdown(sentences.cautions("asr" if "asr" in outcomes else "sid", encoder, corpus, group))

# %% [markdown]
# </details>

# %% [markdown]
# ## Rerun it
#
# The command that made this page; put your CSV and your model in their places.
# [Run it yourself](../book/run_it_yourself.md) shows what such a CSV looks like.

# %% tags=["remove-input"]
parameters = dict(encoder=encoder, corpus=corpus, group=group, seeds=seeds, force=force)
rerun("your-own-model", parameters)

# %% [markdown]
# ## Exercises
#
# :::{exercise} Look
# :label: own-look
# Find the smallest detectable gap in speaker identification, for the main contrast of this page.
# How many people would each group need for a gap of five points to be detectable?
# :::
#
# :::{solution-start} own-look
# :class: dropdown
# :::
#
# The detectable gap shrinks with the root of the number of people: for half the gap, four times as many are needed.
# The code tries larger and larger groups until five points are detectable.

# %% tags=["solution"]
import fairlib

outcomes = fairlib.probe_speakers("logmel", corpus, seeds=seeds)
sizes = [10, 20, 40, 80, 160, 320, 640]
gaps = fairlib.smallest_gaps(outcomes, group, speakers=sizes).query("scale == 'difference' and not observed")
gaps = gaps.pivot(index="contrast", columns="n_speakers_a", values="smallest") * 100
gaps.round(1).assign(enough=(gaps <= 5).idxmax(axis=1).where((gaps <= 5).any(axis=1)))

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Try
# :label: own-try
# Test the whole page where you know the truth: toss a coin for every speaker, and compare heads with tails.
# At how many layers does the rule find a gap?
# :::
#
# :::{solution-start} own-try
# :class: dropdown
# :::
#
# A coin says nothing about a voice, so any gap is chance.
# The rule should find one, at any layer, in one study of twenty. Toss again with another seed, and count.

# %% tags=["solution"]
import numpy as np
import pandas as pd

import fairlib
from fairlib.findings import gaps

outcomes = fairlib.probe_speakers(encoder, corpus, seeds=seeds)
people = outcomes["speaker_id"].unique()
rows = []
for toss in range(5):
    coin = dict(zip(people, np.random.default_rng(toss).permutation(len(people)) % 2))
    tossed = outcomes.assign(coin=outcomes["speaker_id"].map(coin).map({0: "heads", 1: "tails"}))
    table = gaps(fairlib.group_bias(tossed, by="coin", permutations=500), encoder, "heads vs tails")
    largest = table.loc[table["estimate"].abs().idxmax(), "estimate"]
    rows.append({"toss": toss, "layers with a gap": int(table["biased"].sum()), "largest log odds ratio": largest})
pd.DataFrame(rows).round(2)

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Build
# :label: own-build
# Write the CSV of a tiny corpus, with one mistake in it, and load it.
# Does the message say what to do?
# Correct the mistake, and look at who is in your corpus.
# :::
#
# :::{solution-start} own-build
# :class: dropdown
# :::
#
# Here the recordings are noise, and one file is missing.
# With recordings of your own, `recorded_table` and `sizes_table` show who is in them before you run anything long.

# %% tags=["solution"]
import tempfile
from pathlib import Path

import numpy as np
import soundfile

import fairlib
from fairlib.corpora import CorpusError
from fairlib.findings.speakers import recorded_table, speakers_of

folder = Path(tempfile.mkdtemp())
lines = ["path,speaker_id,text,region"]
for speaker, region in {"anna": "north", "ben": "north", "cleo": "south"}.items():
    for number in range(2):
        sound = np.random.default_rng(len(lines)).normal(scale=0.1, size=16000)
        soundfile.write(folder / f"{speaker}{number}.wav", sound, 16000)
        lines.append(f"{speaker}{number}.wav,{speaker},good morning,{region}")
(folder / "voices.csv").write_text("\n".join(lines).replace("ben1.wav", "ben2.wav"))
try:
    fairlib.load_corpus("csv", root=folder / "voices.csv")
except CorpusError as error:
    print(error)
(folder / "voices.csv").write_text("\n".join(lines))
recorded_table(speakers_of(str(folder / "voices.csv")))

# %% [markdown]
# :::{solution-end}
# :::
#
# ## The next question
#
# It is yours.
# The claims of this book were judged on few encoders and few corpora. A verdict on yours, for or against them, is evidence
# as good as ours.
#
# ## Provenance

# %% tags=["remove-input"]
judged = {
    TASKS[task].title + ("" if name == "begins" else ", against the controls"): finding
    for task, both in found.items()
    for name, finding in both.items()
}
provenance_box(runs, parameters, chapter="your-own-model", findings={"the groups": alike} | judged)
