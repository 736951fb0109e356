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
# # Speakers and groups
#
# **Whose speech is this book about? In what else do the {term}`groups <speaker group>` differ? And how small a {term}`gap`
# between them could these data detect?**

# %% tags=["remove-cell"]
import fairlib  # not found? In a clone: pip install -c constraints.txt -e ".[book]", then restart the kernel

# %% tags=["parameters", "hide-input"]
encoder = "mini-hubert-long"  # any encoder that fairlib.load_encoder knows
corpus = "speechocean762"  # any transcribed corpus that fairlib.load_corpus knows
group = "age_group"  # a column of the corpus that describes its speakers
seeds = 5  # speaker probes trained per layer; the others are trained once
force = False  # compute the encoder's outcomes again, even where they are stored or published

# %% tags=["hide-input"]
from IPython.display import Markdown, display
from myst_nb import glue

import fairlib
from fairlib.base.tasks import TASKS
from fairlib.bias import group_columns
from fairlib.book.provenance import provenance_box, rerun
from fairlib.display import charts, sentences, words
from fairlib.display.people import ages_chart, differences_chart, lengths_chart
from fairlib.findings import questions, speakers
from fairlib.findings.views import identify_or_verify

charts.use_book_renderer()

people = speakers.speakers_of(corpus)
asked = questions.ask(
    {
        "sid": lambda: [identify_or_verify(encoder, corpus, group, seeds, force)],
        "asr": lambda: [fairlib.probe_characters(encoder, corpus, force=force).query("unit == 'char'")],
        "phone": lambda: [fairlib.probe_phones(encoder, corpus, force=force)],
    }
)
columns = group_columns(people.reset_index())
contrast = speakers.main_contrast_of(people, group)
apart = speakers.differences(people, group, contrast)
alike = speakers.are_they_alike(apart, group, contrast)
smallest = speakers.smallest_table({TASKS[task].title: rows for task, rows in asked.outcomes.items()}, encoder)
limits = [*questions.left_out(people.reset_index(), group), *asked.said]

# %% tags=["remove-input", "remove-output"]
glue("alike", alike.sentence)
glue("alike_verdict", alike.verdict)
glue("alike_criterion", alike.criterion)
glue("smallest", speakers.smallest_sentence(smallest, group, contrast))
glue("n_people", str(len(people)))
glue("n_utterances", f"{people['utterances'].sum():,}")
glue("n_hours", f"{(people['utterances'] * people['seconds']).sum() / 3600:.1f}")

# %% tags=["remove-input"]
if "age" in people and people["age"].nunique() > 1:
    other = next((column for column in columns if column != "age_group"), "age_group")
    display(ages_chart(people, other))

# %% [markdown]
# **The answer.**
#
# - **Who are they?** {glue:text}`n_people` people, {glue:text}`n_utterances` utterances, {glue:text}`n_hours` hours.
# - **Are the groups otherwise comparable?** *{glue:text}`alike_verdict`.* {glue:text}`alike`
# - **What is the smallest gap that these data can detect?** {glue:text}`smallest`
#
# <details class="more"><summary>The rule behind this verdict</summary>
#
# Its thresholds are in common use, but it was written when the groups’ means had been seen.
# {glue:text}`alike_criterion`
#
# </details>

# %% [markdown]
# ## Who is in the corpus
#
# Behind every number of this book are people who lent their voices.

# %% tags=["remove-input"]
charts.table(speakers.recorded_table(people), "What the corpus records of its speakers")

# %% [markdown]
# What is not in this table is not known here: how long people have lived with the language they speak, where they grew
# up, what they earn, whether they have difficulty hearing or speaking, and the microphone and room in which each of them was
# recorded.
# Any of these may lie behind a gap.
# And the table holds what somebody wrote down, in the words of a form. A person is more than the form had boxes for.

# %% [markdown]
# ## What else differs between the groups
#
# Comparing two groups of people means comparing everything about them at once.
# If one group's utterances are longer, a probe has more to work with; if its recordings are noisier, less; and if more of
# one group are women, a gap by age includes part of a gap by sex.
# The chart shows how far the groups' means differ, in standard deviations between people {cite:p}`austin2009`.
# Inside the grey band a difference is negligible.
# Texts are known here only for the half of the people that recognisers are tested on.

# %% tags=["hide-input"]
if apart.empty:
    display(Markdown(words.plain(alike.sentence)))
else:
    display(differences_chart(apart, group, contrast, differ=alike.verdict == "contradicted"))

# %% [markdown]
# What differs and was recorded can be adjusted for, and later chapters do so beside every raw gap.
# But not every difference is an accident of the recording: that children speak in shorter utterances, or more slowly, is part
# of being a child.
# A gap that disappears at equal lengths has been explained, not removed.
#
# <details class="more"><summary>How long the utterances are</summary>
#
# The length of an utterance enters every probe.

# %% tags=["hide-input"]
if group in people and people[group].notna().any():
    display(lengths_chart(people, group))

# %% [markdown]
# </details>

# %% [markdown]
# ## How many people are in each group
#
# People are the sample, not their utterances: a thousand utterances of four people are evidence about four people.
# Groups of fewer than five are named here and left out of every comparison. Between groups of fewer than ten nothing is
# judged.

# %% tags=["remove-input"]
charts.table(speakers.sizes_table(people, columns), "People, utterances and minutes in each group")

# %% tags=["remove-input"]
if limits:
    display(Markdown(words.bullets(limits)))

# %% [markdown]
# ## The smallest gap that could be detected
#
# If no gap is found, it may be absent, or too small for the number of people.
# So before looking at any gap, we compute how large it would have to be to be detected with a power of four in five, at the
# encoder's best layer for each task.
# More people make it smaller; larger differences between people make it larger.
# Probes of speech recognition and of phones are tested on the half of the people that they were not trained on.

# %% tags=["remove-input"]
about = f"The smallest detectable gap, at the best layer of {words.encoder_label(encoder)}"
charts.table(speakers.written(smallest), about)

# %% [markdown]
# The finer the groups, the fewer the people in each, and the larger the gap must be.
# Which column is compared is a parameter of each chapter. Of a column with several groups, a chapter leads with the contrast
# that has most people on both sides. It is chosen by their number and never by the gap.
#
# ## What could be wrong

# %% tags=["remove-input"]
Markdown(sentences.cautions("", encoder, corpus, group))

# %% [markdown]
# ## Rerun it
#
# The command that made this page; put another encoder, corpus or group in its place:

# %% tags=["remove-input"]
parameters = dict(encoder=encoder, corpus=corpus, group=group, seeds=seeds, force=force)
rerun("speakers-and-groups", parameters)

# %% [markdown]
# ## Exercises
#
# :::{exercise} Look
# :label: people-look
# In the chart of differences, find what differs most between the groups.
# In which direction could it move the errors of speaker identification, and those of speech recognition?
# :::
#
# :::{solution-start} people-look
# :class: dropdown
# :::
#
# It depends on what it is.
# A longer utterance gives a speaker probe more of the voice, so the group with short utterances has more errors even if the
# encoder is fair. A recogniser counts its errors by the character, so length alone matters less.
# Noise harms both.
# The code shows the means behind the chart.

# %% tags=["solution"]
from fairlib.findings.speakers import differences, main_contrast_of, speakers_of

contrast = main_contrast_of(speakers_of(corpus), group)
differences(speakers_of(corpus), group, contrast)[["name", "first", "second", "estimate"]].round(2)

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Try
# :label: people-try
# What is the smallest gap that would be detected if there were ten times as many people, recorded in the same way?
# And if there were as many people as now, with ten times as many utterances each?
# :::
#
# :::{solution-start} people-try
# :class: dropdown
# :::
#
# With ten times the people, a gap about a third as large is detectable (by the root of ten).
# Ten times the utterances help far less, because people differ however long one listens to them.
# The code answers the first half with `fairlib.smallest_gaps`. For the second, see how little is gained by counting all five
# seeds of a probe as if each were more speech.

# %% tags=["solution"]
import fairlib

outcomes = fairlib.probe_speakers("logmel", corpus, seeds=seeds)
people = outcomes["speaker_id"].nunique() // 2
more = fairlib.smallest_gaps(outcomes, group, speakers=[people, 10 * people])
more = more[(more["scale"] == "difference") & ~more["observed"]]
print((100 * more.set_index(["contrast", "n_speakers_a"])["smallest"]).round(2).to_string())
one = fairlib.smallest_gaps(outcomes[outcomes["seed"] == 0], group, speakers=[people])
one = one[(one["scale"] == "difference") & ~one["observed"]]
print("with one seed instead of all:", (100 * one["smallest"]).round(2).tolist())

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Build
# :label: people-build
# Make the groups comparable by matching.
# Pair each person of the first group with the person of the other whose utterances are closest in length, use each person
# once, and drop pairs that differ by more than a fifth of a second.
# How many people are left, and in what do the groups still differ?
# :::
#
# :::{solution-start} people-build
# :class: dropdown
# :::
#
# Matching costs people: the groups are now alike in what they were matched on, but may still differ in the rest, and with
# fewer people only larger gaps are detectable.
# It also changes the question, to one about the people of both groups who resemble each other.

# %% tags=["solution"]
import numpy as np
from scipy.optimize import linear_sum_assignment

from fairlib.bias.contrasts import contrast_groups
from fairlib.findings.speakers import differences, main_contrast_of, speakers_of

contrast = main_contrast_of(speakers_of(corpus), group)
everybody = speakers_of(corpus).dropna(subset=[group])
belongs = everybody[group] == contrast_groups(contrast)[0]
one, other = everybody[belongs], everybody[~belongs]
distance = np.abs(one["seconds"].to_numpy()[:, None] - other["seconds"].to_numpy())
left, right = linear_sum_assignment(np.where(distance <= 0.2, distance, 1e3))
near = distance[left, right] <= 0.2
matched = everybody.loc[[*one.index[left[near]], *other.index[right[near]]]]
print(f"{near.sum()} pairs of {len(one)} and {len(other)} people")
differences(matched, group, contrast)[["name", "first", "second", "estimate", "low", "high"]].round(2)

# %% [markdown]
# :::{solution-end}
# :::
#
# ## The next question
#
# We know whose speech it is, in what else the groups differ, and the smallest gap that these data can detect.
# We do not know yet what can be read from the encoder's layers at all, and how much of that it learnt.
# That is the question of [the next chapter](03_encoders_and_layers.ipynb).
#
# ## Provenance

# %% tags=["remove-input"]
provenance_box(asked.runs, parameters, chapter="speakers-and-groups", findings=[alike])
