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
# # Encoders and layers
#
# **What does each layer of a speech encoder hold: which phone sounds, who is speaking, what is said? And how much of that
# did the encoder learn?**
# Some of it is in the plain spectrogram already, and some comes from the shape of the network before any training.

# %% tags=["remove-cell"]
import fairlib  # not found? In a clone: pip install -c constraints.txt -e ".[book]", then restart the kernel

# %% tags=["parameters", "hide-input"]
encoder = "mini-hubert-long"  # any encoder that fairlib.load_encoder knows
corpus = "speechocean762"  # any transcribed corpus that fairlib.load_corpus knows
seeds = 5  # speaker probes trained per layer; the others are trained once
force = False  # compute the encoder's outcomes again, even where they are stored or published

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import Markdown, display
from myst_nb import glue

import fairlib
from fairlib import corpora, findings
from fairlib.base.tasks import unit_named
from fairlib.book.provenance import provenance_box, rerun
from fairlib.display import charts, sentences, trajectories, words
from fairlib.encoders import pretraining_log
from fairlib.findings import layers, pretraining, questions
from fairlib.findings.marks import marks_in_context, marks_table
from fairlib.findings.survey import SHOWN, by_depth, encoders_table, every_encoder, layers_table, side_by_side

charts.use_book_renderer()

names = [encoder, *findings.controls(encoder)]
asked = questions.ask(
    {
        "phone": lambda: [fairlib.probe_phones(name, corpus, force=force and name == encoder) for name in names],
        "sid": lambda: [fairlib.probe_speakers(name, corpus, seeds, force and name == encoder) for name in names],
        "asr": lambda: [fairlib.probe_characters(name, corpus, force=force and name == encoder) for name in names],
    }
).or_stop()
outcomes = pd.concat(asked.outcomes.values(), ignore_index=True)
errors = layers.layer_errors(outcomes[outcomes["unit"] != "word"])
learnt, depths = layers.what_was_learnt(outcomes, encoder), layers.which_depths(outcomes, encoder)
if asked.said:
    display(Markdown(words.bullets(asked.said)))

# %% tags=["remove-input", "remove-output"]
for name, finding in {"learnt": learnt, "depths": depths}.items():
    glue(name, finding.sentence)
    glue(f"{name}_verdict", finding.verdict)
    glue(f"{name}_criterion", finding.criterion)

# %% tags=["remove-input"]
units = [unit for unit in ("phone", "speaker", "char") if unit in set(errors["unit"])]
shown = {unit: errors[errors["unit"] == unit] for unit in units}
charts.encoders_by_layer(shown[units[0]], **layers.told(shown[units[0]], encoder))

# %% [markdown]
# **The answer.**
#
# - **Does training add phone information?** *{glue:text}`learnt_verdict`.* {glue:text}`learnt`
# - **Are speakers and phones classified best at different depths?** *{glue:text}`depths_verdict`.* {glue:text}`depths`
#
# <details class="more"><summary>The rules behind these verdicts</summary>
#
# - *Learnt?* {glue:text}`learnt_criterion`
# - *Different depths?* {glue:text}`depths_criterion`
#
# </details>

# %% [markdown]
# ## What a layer is
#
# A self-supervised encoder turns a recording into numbers in several steps, and each step is a layer.
# The *convolutions* (layer `cnn`) look at a fortieth of a second at a time and produce a list of numbers, a *frame*, fifty
# times a second.
# These enter the *transformer* (layer `0`), whose blocks (layers `1` and up) each look at all frames of the utterance
# and compute every frame anew.
# In training, the encoder never saw a transcript: it learnt to predict stretches of speech that were hidden from it from
# what stood around them.
#
# What a layer holds is measured with a *probe*, a classifier so small that it can only read what is there.
# Three probes are trained on every layer: which *phone* sounds in a frame, which *speaker* is heard in an utterance, and
# which *characters* write down what was said.
#
# Two controls show what was not learnt.
# The *untrained twin* is the same network, randomly initialised; what it holds comes from the shape of the network.
# *Log-mel* is the plain spectrogram; what it holds comes from the sound.
# Only where a layer's error lies below both has training added something that the probe can use.

# %% tags=["remove-input"]
others = {unit: layers.told(shown[unit], encoder) for unit in units[1:]}
Markdown(words.bullets([f"{other['title']}." for other in others.values()]))

# %% [markdown]
# <details class="more"><summary>The same chart for speakers and for characters, and every number</summary>

# %% tags=["hide-input"]
for unit, other in others.items():
    display(charts.encoders_by_layer(shown[unit], **other))

# %% tags=["remove-input"]
charts.table(layers.knowledge_table(errors), "Errors at every layer, with 95 % intervals over speakers")

# %% [markdown]
# </details>

# %% [markdown]
# ## Every encoder of this book
#
# We pretrain encoders of three families: HuBERT (step by step, with and without speech of the corpus that is tested, and at
# three sizes), WavLM and wav2vec 2.0 {cite}`hsu2021,chen2022,baevski2020`; HuBERT and WavLM once for much longer, too.
# Some were then fine-tuned for speech recognition.
# Each is tested on people whom it has not heard.
# A chart’s title compares the best encoder with the worst, picked after the fact, which overstates the difference a
# little.

# %% tags=["hide-input"]
family = every_encoder(corpus)
of_all = {}
for unit in SHOWN:
    each = [side_by_side(some, unit, encoder, f" with {blocks} blocks") for blocks, some in by_depth(family).items()]
    of_all[unit] = [charts.encoders_by_layer(**chart, height=260) for chart in each if chart]
if not family:
    display(Markdown("Outcomes on this corpus are not published."))
display(*of_all[SHOWN[0]])

# %% [markdown]
# <details class="more"><summary>The other tasks, and every encoder’s best layer</summary>
#
# Speakers are identified twice: as recorded, and with every utterance sent through a channel of its own, so that less of
# the recording and more of the voice is recognised.

# %% tags=["remove-input"]
for unit in SHOWN[1:]:
    display(*of_all[unit])
if family:
    display(
        charts.table(
            encoders_table(family),
            "Errors at every encoder’s best layer; below, the relative difference from log-mel and from its untrained twin",
        )
    )

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>The same on other corpora</summary>
#
# Where few people are left whom no encoder has heard, these are enough to see what a layer holds, and too few to compare
# groups.

# %% tags=["hide-input"]
elsewhere = {}
for other in corpora.CORPORA:
    found = {} if other == corpus or corpora.is_synthetic(other) else every_encoder(other)
    spoken = {name: mine for name, mine in found.items() if (mine["unit"] == "phone").any()}
    if not spoken:
        continue
    elsewhere[other] = spoken
    n_people = len({person for mine in spoken.values() for person in mine["speaker_id"]})
    display(charts.table(encoders_table(spoken), f"The same on {other}: {n_people} people whom none of them has heard"))

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>Every number, layer by layer</summary>
#
# Each encoder stands beside log-mel on the same people.

# %% tags=["remove-input"]
for where, here in {corpus: family, **elsewhere}.items():
    for unit in SHOWN:
        if len(numbers := layers_table(here, unit)):
            display(charts.table(numbers, f"On {where}, per cent {unit_named(unit).wrong}", folded=True))

# %% [markdown]
# </details>

# %% [markdown]
# ## How the encoder was trained
#
# The encoders are our own, so all that they heard is known.
# The training is only a means: what counts is how the layers improve.
# The chart follows the best layer’s phone error along those trainings that were measured on the way, on people whom the
# encoder does not hear in training.

# %% tags=["hide-input"]
along = []
for where in dict.fromkeys((corpus, *corpora.CORPORA)):
    watched = pretraining.published_along(where, "phone")
    paths = {name: layers.along_training(mine, pretraining.hours_heard(name)) for name, mine in watched.items()}
    if paths:
        along.append(trajectories.best_errors(paths, where))
for chart in along[:1]:
    display(chart)

# %% [markdown]
# A *second seed* is the same training again, from other random numbers.
# The convolutions of wav2vec 2.0 began as those of the first HuBERT, whose hours are counted too. Its untrained twin stands
# for the beginning, and nothing was measured between the two.
#
# <details class="more"><summary>On other people, and the training task itself</summary>
#
# The last chart shows the share of hidden frames that the encoder predicts correctly.
# For HuBERT and WavLM the prediction is one of a hundred clusters of sounds, for wav2vec 2.0 one of fifty-one frames.

# %% tags=["hide-input"]
for chart in along[1:]:
    display(chart)
log = pretraining_log(encoder)
if log is None:
    display(Markdown("How this encoder was trained is not on record here."))
else:
    display(trajectories.pretraining_task(log))

# %% [markdown]
# </details>

# %% [markdown]
# ## What makes layers differ
#
# The layers of the first encoders differ little: the blocks add about a point to what layer `0` knows of phones.
# So we trained others for a short while, most with one thing changed, and measured all of them in the same way, on people
# whom none had heard, before looking at any gap.
# Three tests were set: the best block at least {glue:text}`gate_layer` points of phone error below layer `0`; at least
# {glue:text}`gate_logmel` below log-mel with 100 ms of context; and the error spread over at least {glue:text}`gate_span`
# in log odds. A fourth was for encoders that are kept: speakers and phones classified best at different depths.
#
# - **With a positional convolution, none passed.** It mixes neighbouring frames into layer `0`, which then knows much of
#   what the blocks could learn.
# - **With relative positions** (the last six), layer `0` hears one frame, and all context must form in the blocks.
#   As HuBERT and as WavLM these pass the first and the third test easily, and their error falls from block to block.
#   None passes the second: they have heard too little speech to leave the spectrogram far behind.
# - **With voices made faster or slower**, the blocks were meant to learn what is common to many voices, and to forget who
#   speaks. They did not: phones and speakers are classified about as well as without.
# - **Trained as data2vec and wav2vec 2.0**, the blocks had hardly begun to learn.
#
# Three of the last six were kept, and two of them measured again with the probes of this chapter, on two corpora. Of the
# seven marks below, mini-hubert meets {glue:text}`marks_shorter`, mini-wavlm {glue:text}`marks_wavlm`, and pocket-hubert,
# one of the first encoders, {glue:text}`marks_first`. Two changes to mini-hubert brought more: mini-hubert-long, which heard the same speech nearly
# four times as often, meets {glue:text}`marks_lead`; midi-hubert, which has three times as many weights,
# {glue:text}`marks_largest`. mini-wavlm-long, which was trained for as long as the lead, meets {glue:text}`marks_wavlm_long`.
#
# So mini-hubert-long leads the following chapters: it identifies speakers best at layer {glue:text}`lead_speakers`, and
# classifies phones best at layer {glue:text}`lead_phones`. Fine-tuned for speech recognition, it meets
# {glue:text}`marks_tuned`, and these layers are {glue:text}`tuned_speakers` and {glue:text}`tuned_phones`.
# mini-wavlm-long, fine-tuned, meets {glue:text}`marks_wavlm_tuned`, with layers {glue:text}`wavlm_tuned_speakers` and
# {glue:text}`wavlm_tuned_phones`.
#
# When mini-hubert-long was chosen, its gaps in speaker identification and in phones had been seen, too; mini-hubert led before.
# [Chapter 11](11_robustness.ipynb) judges every encoder by the same rules.
# Some questions are asked of pocket-hubert instead. It alone was trained on other speech from two seeds, which shows whether
# it helps an encoder to have heard such people ([chapter 9](09_along_pretraining.ipynb)); and stronger character probes were
# trained on it ([chapter 6](06_speech_recognition.ipynb)).
#
# <details class="more"><summary>Every encoder that was measured on both corpora, by these marks</summary>
#
# The first two marks count once for each corpus, the third once for phones and once for speakers. Whether the best layers
# differ is judged by the rule at the top of this page.
# On people whom the encoder has not heard. Best blocks stand in brackets.
# Log-mel has as much context as layer `0`: 25 ms for encoders with relative positions, 645 ms for the first ones. This is an
# easier comparison for the former. A block hears the whole utterance, so part of what it gains on log-mel is context:
# {glue:text}`marks_in_context`

# %% tags=["remove-input"]
marks = marks_table({corpus: family, **elsewhere})
glue("marks_in_context", marks_in_context("mini-hubert-long", {corpus: family, **elsewhere}), display=False)
charts.table(marks, "How far the layers of our encoders lie apart")

# %% tags=["remove-input", "remove-output"]
by_name = marks.set_index("encoder")
for shown_as, name in {
    "lead": "mini-hubert-long",
    "tuned": "mini-hubert-long-asr-librispeech",
    "wavlm_tuned": "mini-wavlm-long-asr-librispeech",
    "shorter": "mini-hubert",
    "wavlm": "mini-wavlm",
    "wavlm_long": "mini-wavlm-long",
    "first": "pocket-hubert",
    "largest": "midi-hubert",
}.items():
    met, best = by_name.loc[name, ["marks met", "best for speakers, for phones"]]
    glue(f"marks_{shown_as}", met)
    for task, layer in zip(("speakers", "phones"), best.split("\n")[0].split(", ")):
        glue(f"{shown_as}_{task}", layer)

# %% [markdown]
# </details>
#
# <details class="more"><summary>All short trainings</summary>
#
# The lowest errors come from the larger data2vec, which has a teacher of its own and classifies phones best from its third
# block; its convolutions began as those of an encoder trained before.
# Where hours or the learning rate differ too, the table cannot say which of them mattered; each training was made once, that
# with other voices on a processor, all others on a GPU.
# The layer stands in brackets.

# %% tags=["remove-input"]
charts.table(
    layers.ablations_table(),
    "Short trainings in half precision, 128 s a step unless stated: how far their layers lie apart",
)

# %% [markdown]
# </details>

# %% tags=["remove-input", "remove-output"]
glue("gate_layer", f"{layers.GATE['below layer 0']:.0f}")
glue("gate_logmel", f"{layers.GATE['below log-mel']:.0f}\N{NO-BREAK SPACE}%")
glue("gate_span", f"{layers.GATE['span']}")

# %% [markdown]
# ## What could be wrong

# %% tags=["remove-input"]
Markdown(sentences.cautions("phone", encoder, corpus))

# %% [markdown]
# ## Rerun it
#
# The command that made this page; put another encoder or corpus in its place:

# %% tags=["remove-input"]
parameters = dict(encoder=encoder, corpus=corpus, seeds=seeds, force=force)
rerun("encoders-and-layers", parameters)

# %% [markdown]
# ## Exercises
#
# :::{exercise} Look
# :label: layers-look
# In which of the two, phones or speakers, does the untrained twin come closer to the trained encoder?
# And why should a network that has never been trained hold anything useful?
# :::
#
# :::{solution-start} layers-look
# :class: dropdown
# :::
#
# The code compares the best layer of each.
# Random weights mix their input but do not lose all of it: level, pitch and the balance of the spectrum pass through, and
# these make up much of a voice, or of a recording.
# So a low probe error does not show that a layer has learnt anything; an error below the twin's does.

# %% tags=["solution"]
import pandas as pd

import fairlib
from fairlib.findings.layers import layer_errors

three = [encoder, f"random:{encoder}", "logmel"]
phones = pd.concat([fairlib.probe_phones(name, corpus) for name in three])
speakers = pd.concat([fairlib.probe_speakers(name, corpus, seeds=seeds) for name in three])
errors = layer_errors(pd.concat([phones, speakers]), resamples=200)
errors.pivot_table(index="encoder", columns="unit", values="error", aggfunc="min", sort=False).round(2)

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Try
# :label: layers-try
# At which layer has most been learnt about phones, if each layer is compared with the same layer of the untrained twin?
# Is it the layer with the lowest error?
# :::
#
# :::{solution-start} layers-try
# :class: dropdown
# :::
#
# The code gives the share of the twin's errors that training removed, layer by layer.
# The two need not agree: the layer with the lowest error may owe less to training than another.

# %% tags=["solution"]
import pandas as pd

import fairlib
from fairlib.findings.layers import layer_errors

pair = [encoder, f"random:{encoder}"]
errors = layer_errors(pd.concat([fairlib.probe_phones(name, corpus) for name in pair]), resamples=200)
wide = errors.pivot(index="layer", columns="encoder", values="error").loc[fairlib.layer_order(errors["layer"])]
taken = (1 - wide[encoder] / wide[f"random:{encoder}"]).rename("share of the twin's errors removed")
print(f"Most learnt at layer {taken.idxmax()}, lowest error at layer {wide[encoder].idxmin()}.")
taken.round(2).to_frame()

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Build
# :label: layers-build
# How sure can we be which layer is best for phones?
# Write a function that resamples the speakers many times, with replacement, and counts how often each layer is best.
# :::
#
# :::{solution-start} layers-build
# :class: dropdown
# :::
#
# Whole speakers are drawn, not utterances, because one person's utterances are alike.
# Where one layer wins nearly always, other people of the same kind would hardly have changed the answer. Where two share
# the wins, their order says little.

# %% tags=["solution"]
import numpy as np

import fairlib


def how_often_best(outcomes, draws=1000, seed=0):
    sums = outcomes.groupby(["speaker_id", "layer"])[["errors", "length"]].sum().unstack("layer")
    errors, lengths = sums["errors"].to_numpy(float), sums["length"].to_numpy(float)
    rng = np.random.default_rng(seed)
    people = rng.integers(0, len(errors), (draws, len(errors)))
    drawn = errors[people].sum(axis=1) / lengths[people].sum(axis=1)  # [draws, layers]
    best = sums["errors"].columns[drawn.argmin(axis=1)]
    return best.value_counts(normalize=True).rename("share of draws in which it is best")


how_often_best(fairlib.probe_phones(encoder, corpus)).to_frame()

# %% [markdown]
# :::{solution-end}
# :::
#
# ## The next question
#
# Do the layers hold as much for everybody?
# Before we can ask, [the next chapter](04_measuring_bias.ipynb) shows how to measure a gap without being misled by chance
# or by the metric.
#
# ## Provenance

# %% tags=["remove-input"]
provenance_box(asked.runs, parameters, chapter="encoders-and-layers", findings=[learnt, depths])
