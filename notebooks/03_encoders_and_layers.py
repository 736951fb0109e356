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
# **The question.** What does each layer of a speech encoder hold: which sound is spoken, who speaks, what is said?
# And how much of that has the encoder learnt, when an untrained network, or the plain spectrogram, holds some of it too?
#
# **The answer.** Does training add phone information? *{glue:text}`learnt_verdict`*. {glue:text}`learnt`
# Who speaks and what is said at different depths: *{glue:text}`depths_verdict`*. {glue:text}`depths`
#
# **How it was judged**, by these rules:
#
# - *Learnt?* {glue:text}`learnt_criterion`
# - *Different depths?* {glue:text}`depths_criterion`

# %% tags=["remove-cell"]
import fairlib  # not found? In a clone: pip install -c constraints.txt -e ".[book]", then restart the kernel

# %% tags=["parameters", "hide-input"]
encoder = "pocket-hubert"  # any encoder that fairlib.load_encoder knows
corpus = "speechocean762"  # any transcribed corpus that fairlib.load_corpus knows
seeds = 5  # speaker probes trained per layer; the others are trained once
force = False  # compute the encoder's outcomes again, even where they are stored or published

# %% [markdown]
# ## What a layer is
#
# A self-supervised encoder turns a recording into numbers in several steps, and each step is a layer.
# The *convolutions* (layer `cnn`) look at a fortieth of a second at a time and give a row of numbers, a *frame*, fifty
# times a second.
# These enter the *transformer* (layer `0`), whose blocks (layers `1` and up) each look at all frames of the utterance
# and write every frame anew.
# Nobody told the encoder what was said: in training it learnt to guess stretches of speech that were hidden from it,
# from what stood around them.
#
# What a layer holds is found with a *probe*: a classifier so small that it can only read what is there.
# Three probes ask three questions of every layer: which *phone* sounds in a frame, which *speaker* is heard in an
# utterance, and which *characters* write down what was said.

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import Markdown, display
from myst_nb import glue

import fairlib
from fairlib import corpora, findings
from fairlib.book.provenance import provenance_box, rerun
from fairlib.display import charts, sentences, words
from fairlib.encoders import pretraining_log
from fairlib.findings import pretraining, questions
from fairlib.findings.layers import (
    GATE,
    ablations_table,
    along_training,
    knowledge_table,
    layer_errors,
    told,
    what_was_learnt,
    which_depths,
)
from fairlib.findings.survey import SHOWN, encoders_table, every_encoder, layers_table, side_by_side
from fairlib.tasks import unit_named

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
errors = layer_errors(outcomes[outcomes["unit"] != "word"])
learnt, depths = what_was_learnt(outcomes, encoder), which_depths(outcomes, encoder)
if asked.said:
    display(Markdown(words.bullets(asked.said)))

# %% tags=["remove-input", "remove-output"]
for name, finding in {"learnt": learnt, "depths": depths}.items():
    glue(name, finding.sentence)
    glue(f"{name}_verdict", finding.verdict)
    glue(f"{name}_criterion", finding.criterion)

# %% [markdown]
# ## What each layer holds
#
# The lower a line, the more of it can be read from that layer.
# The *untrained twin* is the same network with random weights: what it holds, the shape of the network gives.
# *Log-mel* is the plain spectrogram: what it holds, the sound gives.
# Only what lies below both has been learnt.

# %% tags=["hide-input"]
for unit in [unit for unit in ("phone", "speaker", "char") if unit in set(errors["unit"])]:
    rows = errors[errors["unit"] == unit]
    display(charts.encoders_by_layer(rows, **told(rows, encoder)))

# %% tags=["remove-input"]
charts.table(knowledge_table(errors), "Errors at every layer, with 95 % intervals over speakers")

# %% [markdown]
# ## Every encoder of this book
#
# This book pretrains encoders of three families: HuBERT (in two steps, and once more with children’s speech), WavLM and
# wav2vec 2.0 {cite}`hsu2021,chen2022,baevski2020`; some were then fine-tuned to write down speech.
# Here they stand side by side, as far as their outcomes on this corpus are published, each on people whom it has not
# heard.
# Speakers are identified twice: as recorded, and with every utterance sent through a channel of its own, so that what is
# recognised is less the recording and more the voice.
# A chart’s title compares the best encoder with the worst, on the same people; picked out after the fact, the two seem
# somewhat farther apart than two encoders named beforehand would.

# %% tags=["hide-input"]
family = every_encoder(corpus)
if not family:
    display(Markdown("Outcomes on this corpus are not published."))
else:
    for unit in SHOWN:
        if shown := side_by_side(family, unit, encoder):
            display(charts.encoders_by_layer(**shown, height=260))
    display(
        charts.table(
            encoders_table(family),
            "Errors at every encoder’s best layer; below, by how much they differ from log-mel’s and from its untrained twin’s, as far as these are published",
        )
    )

# %% [markdown]
# The same was asked of other people, where their outcomes are published.
# Where few of them are left whom no encoder has heard, these are enough to see what a layer holds, and too few to compare
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
    for unit in ("phone", "char"):
        if shown := side_by_side(spoken, unit, encoder, f", on {other}"):
            display(charts.encoders_by_layer(**shown, height=260))
    display(charts.table(encoders_table(spoken), f"The same on {other}: {n_people} people whom none of them has heard"))

# %% [markdown]
# Every number behind these charts, layer by layer; each encoder stands beside log-mel on the same people:

# %% tags=["remove-input"]
for where, here in {corpus: family, **elsewhere}.items():
    for unit in SHOWN:
        if len(numbers := layers_table(here, unit)):
            display(charts.table(numbers, f"On {where}, per cent {unit_named(unit).wrong}", folded=True))

# %% [markdown]
# ## How the encoder was trained
#
# The pocket encoders are our own, so all that they heard is known, and how they went about it can be shown.
# The chart follows the share of hidden frames that the encoder guesses rightly.
# For HuBERT and WavLM a guess is one of a hundred clusters of sounds, for wav2vec 2.0 one of fifty-one frames.

# %% tags=["hide-input"]
log = pretraining_log(encoder)
if log is None:
    display(Markdown("How this encoder was trained is not on record here."))
else:
    last = log.iloc[-5:].mean()
    drawn = log.iloc[len(log) % 5 :].groupby(lambda row: row // 5).mean()  # means over five hundred steps
    display(
        charts.curves(
            drawn.assign(line="hidden frames", x=drawn["hours_heard"], value=drawn["masked_accuracy"]),
            x_title="hours of speech heard in training",
            y_title="hidden frames guessed rightly (%)",
            format="%",
            title=f"In the end {words.percent(last['masked_accuracy'])} of the hidden frames were guessed rightly",
            description="A line that rises steeply in the first hours of speech heard in training and slowly in the last.",
        )
    )

# %% [markdown]
# Guessing clusters is only the exercise; what it is for is the layers.
# Of the trainings that were watched, the next charts show how the best layer’s phone error fell on people whom the
# encoder does not hear in training, and whether it still did in the end.
# A *second seed* is the same training once more, from other random numbers.
# The convolutions of wav2vec 2.0 began as those of the first HuBERT, whose hours are counted too; its untrained twin
# stands for the beginning, and between the two nothing was measured.

# %% tags=["hide-input"]
for where in dict.fromkeys((corpus, *corpora.CORPORA)):
    watched = pretraining.published_along(where, "phone")
    if not watched:
        continue
    paths = [
        along_training(steps, pretraining.hours_heard(name)).assign(line=words.encoder_label(name))
        for name, steps in watched.items()
    ]
    last = sorted(100 * (path["value"].iloc[-2] - path["value"].iloc[-1]) for path in paths)
    span = paths[0]["x"].iloc[-1] - paths[0]["x"].iloc[-2]
    fell = " to ".join(dict.fromkeys(f"{points:.1f}" for points in (last[0], last[-1])))
    display(
        charts.curves(
            pd.concat(paths),
            x_title="hours of speech heard in training",
            y_title="frames given a wrong phone (%)",
            format="%",
            title=f"In the last {span:.0f} hours of training the best layer’s phone error fell by {fell} points, on {where}",
            description="Lines of the best layer’s phone error over hours of speech heard in training. "
            + " ".join(
                f"{path['line'].iloc[0]}: {words.percent(path['value'].iloc[0])} to {words.percent(path['value'].iloc[-1])}."
                for path in paths
            ),
            notes="Bands: 95 % intervals over speakers.",
        )
    )

# %% [markdown]
# ## What makes layers differ
#
# Between the layers of the first encoders there is little to see: the blocks add a point or so to what layer `0` knows of
# phones.
# So we trained others for a short while, each with something changed, and measured all of them alike, on people whom none
# had heard, before any gap was looked at.
# An encoder's layers should lie so far apart: the best block {glue:text}`gate_layer` points of phone error below layer `0`,
# {glue:text}`gate_logmel` below log-mel of 100 ms, the context of a kernel of 5, and the error spread over
# {glue:text}`gate_span` in log odds.
# In brackets stands the layer.
#
# Where a convolution tells the blocks of positions, none got there: it mixes neighbouring frames into layer `0`, which then
# knows much of what the blocks could learn.
# In the last five, positions are relative. Layer `0` hears one frame, and all context must form in the blocks.
# As HuBERT and as WavLM these pass the first and the third mark by far, and their error falls from block to block: phones and
# speakers are both classified best near the top.
# None passes the second: they heard too little speech to leave the spectrogram far behind.
# With the tasks of data2vec and wav2vec 2.0 the blocks had hardly begun to learn.
# Two of the five, mini-hubert and mini-wavlm, stand beside the first encoders in the chapters to come.
#
# The lowest errors come from the larger data2vec, which has a teacher of its own; phones are classified best from its third
# block.
# Its convolutions began as those of an encoder trained before.
# Where hours or the learning rate differ too, the table cannot tell what did it; each training was made once.

# %% tags=["remove-input"]
charts.table(
    ablations_table(),
    "Short trainings on a GPU in half precision, of 128 s a step unless it is said: how far their layers lie apart",
)

# %% tags=["remove-input", "remove-output"]
glue("gate_layer", f"{GATE['below layer 0']:.0f}")
glue("gate_logmel", f"{GATE['below log-mel']:.0f}\N{NO-BREAK SPACE}%")
glue("gate_span", f"{GATE['span']}")

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
# Which of the three questions does the untrained twin answer best, beside the trained encoder?
# And why should a network that has never been trained hold anything of it?
# :::
#
# :::{solution-start} layers-look
# :class: dropdown
# :::
#
# The code sets the best layer of each beside the others.
# Random weights mix what comes in, but they throw little of it away: level, pitch and the balance of the spectrum pass
# through, and a good part of a voice, or of a recording, is made of these.
# So a good probe on a layer is no proof that the layer has learnt anything; only a better one than on the twin is.

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
# The share of the twin's errors that training took away, layer by layer.
# The two need not agree: a layer can be the best one to read from and yet owe less to training than another.

# %% tags=["solution"]
import pandas as pd

import fairlib
from fairlib.findings.layers import layer_errors

pair = [encoder, f"random:{encoder}"]
errors = layer_errors(pd.concat([fairlib.probe_phones(name, corpus) for name in pair]), resamples=200)
wide = errors.pivot(index="layer", columns="encoder", values="error").loc[fairlib.layer_order(errors["layer"])]
taken = (1 - wide[encoder] / wide[f"random:{encoder}"]).rename("share of the twin's errors taken away")
print(f"Most learnt at layer {taken.idxmax()}, lowest error at layer {wide[encoder].idxmin()}.")
taken.round(2).to_frame()

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Build
# :label: layers-build
# How sure can one be which layer is the best for phones?
# Write a function that draws the speakers anew many times, with replacement, and counts how often each layer comes out
# best.
# :::
#
# :::{solution-start} layers-build
# :class: dropdown
# :::
#
# Whole speakers are drawn, not utterances, since one person's utterances are alike.
# Where one layer wins nearly always, other people of the same kind would hardly have changed the answer; where two share
# the wins, the order of these two says little.

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
# The layers hold something, and not the same thing at each depth.
# Whether they hold it equally for everybody is the question of the chapters to come; how to tell, without being fooled by
# luck or by the metric, is that of [the next one](04_measuring_bias.ipynb).
#
# ## Provenance

# %% tags=["remove-input"]
provenance_box(asked.runs, parameters, chapter="encoders-and-layers", findings=[learnt, depths])
