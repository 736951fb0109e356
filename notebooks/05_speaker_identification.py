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
# # Speaker identification, layer by layer
#
# A small classifier, a *probe*, reads the embeddings of one layer and says who is speaking.
# **Does it misidentify some groups of speakers more often than others? From which layer on? And does that come from the
# encoder?**

# %% tags=["remove-cell"]
import fairlib  # not found? In a clone: pip install -c constraints.txt -e ".[book]", then restart the kernel

# %% tags=["parameters", "hide-input"]
encoder = "mini-hubert-long"  # any encoder that fairlib.load_encoder knows
corpus = "speechocean762"  # any corpus that fairlib.load_corpus knows
group = "age_group"  # a column of the corpus that describes its speakers
seeds = 5  # probes trained per layer, each from another seed
layer = ""  # the layer of the closer look; left empty, the one that identifies speakers best
force = False  # compute the encoder's outcomes again, even where they are stored or published

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import HTML, Markdown, display
from myst_nb import glue

import fairlib
from fairlib import findings
from fairlib.bias import group_bias, group_errors, only_groups
from fairlib.book.provenance import provenance_box, rerun
from fairlib.corpora import CorpusError
from fairlib.corpora.audio import read_audio
from fairlib.corpora.channel import perturb
from fairlib.corpora.synthetic import examples
from fairlib.display import charts, sentences, sounds, words
from fairlib.display.links import explorer_link
from fairlib.encoders import LOGMEL_AROUND
from fairlib.findings import ages, questions, views, where
from fairlib.findings.survey import published
from fairlib.probes import ProbeError

charts.use_book_renderer()

names = [encoder, *findings.controls(encoder)]
asked = questions.ask(
    {
        "sid": lambda: [
            views.identify_or_verify(name, corpus, group, seeds, force and name == encoder) for name in names
        ]
    },
    by=group,
).or_stop()
outcomes, contrast = asked.outcomes["sid"], asked.contrast
errors = group_errors(outcomes, by=group)
bias = findings.mark_saturated(group_bias(outcomes, by=group), outcomes)
if asked.said:
    display(Markdown(words.bullets(asked.said)))

# %% tags=["remove-input"]
of_groups_by_layer = charts.error_by_layer(errors, encoder=encoder, bias=bias, contrast=contrast)
glue("sid_errors", of_groups_by_layer, display=False)
of_groups_by_layer

# %% [markdown]
# **The answer.** {glue:text}`sid_sentence`
#
# - **Does the gap differ between layers?** *{glue:text}`sid_where_verdict`.* {glue:text}`sid_where`
# - **Is there a gap from the first layers on?** *{glue:text}`sid_begins_verdict`.* {glue:text}`sid_begins`
# - **Does it come from the encoder?** *{glue:text}`sid_whose_verdict`.* {glue:text}`sid_whose`
#
# <details class="more"><summary>The rules behind these verdicts</summary>
#
# - *Does it differ between layers?* {glue:text}`sid_where_criterion`
# - *From which layer on?* {glue:text}`sid_begins_criterion`
# - *Whose gap is it?* {glue:text}`sid_whose_criterion`
#
# </details>
#
# Layer `cnn` is the output of the convolutions, `0` is what enters the transformer, and the numbers are its blocks.

# %% tags=["remove-input"]
HTML(explorer_link(corpus, encoder, group, contrast, ["sid"]))

# %% [markdown]
# ## How large is the gap, and whose is it?
#
# The chart below shows the gap itself, as a log odds ratio, beside two controls that go through the same steps: the
# *untrained twin*, which is the same network randomly initialised, and *log-mel*, the plain spectrogram.
# Where the encoder's line runs with log-mel's, the gap was in the signal before any encoder heard it.

# %% tags=["hide-input"]
found = where.where_and_whose(outcomes, bias, group, encoder, contrast)
lead = charts.bias_by_layer(bias, encoder=encoder, contrast=contrast)
lead

# %% tags=["remove-input", "remove-output"]
glue("sid_lead", lead)
glue("sid_sentence", sentences.in_one_sentence(errors, bias, encoder, contrast, found["where"]))
glue("sid_plain", sentences.in_plain_words(errors, bias, encoder, contrast, found["whose"]))
for name, finding in found.items():
    glue(f"sid_{name}", finding.sentence)
    glue(f"sid_{name}_verdict", where.where_verdict(finding) if name == "where" else finding.verdict)
    glue(f"sid_{name}_criterion", finding.criterion)

# %% tags=["remove-input"]
lines = sentences.layer_sentences(errors, bias, encoder, contrast)
display(Markdown(words.bullets([*lines, sentences.best_layer_sentence(outcomes, encoder)])))

# %% [markdown]
# <details class="more"><summary>Every number behind these charts</summary>
#
# Intervals are over speakers: whole speakers are resampled, never single utterances.

# %% tags=["remove-input"]
charts.table(findings.layer_table(errors, bias, contrast), "Errors and gaps at every layer, with 95 % intervals")

# %% [markdown]
# </details>

# %% [markdown]
# ## What if it is asked in another way?
#
# - **On another scale.** {glue:text}`sid_scales`
# - **With other differences between the groups held equal.** {glue:text}`sid_adjusted`
# - **By age, within the groups.** {glue:text}`sid_ages`
# - **Between all groups that are recorded.** {glue:text}`sid_contrasts`

# %% [markdown]
# <details class="more"><summary>Why does the scale matter?</summary>
#
# If the *odds* of an error differed between two groups by the same factor at every layer, the *ratio* of their errors
# would rise as errors fall, and the *difference* would be largest where about half of all answers are wrong.
# Only the log odds ratio would stay nearly level.
# A pattern that shows on one scale alone may come from the metric and not from the encoder.

# %% tags=["hide-input"]
glue("sid_scales", sentences.scales_sentence(bias, encoder, contrast), display=False)
display(*charts.three_scales(bias, encoder=encoder, contrast=contrast))

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>Do other differences between the groups explain it?</summary>
#
# The gap is estimated again with the length of the utterance, its noise and the other recorded columns held equal, by
# regression {cite}`liu2021`.
# Noise is the ratio of speech to noise in decibels, estimated from the pauses.
# What was not recorded cannot be adjusted for, and what is part of being in a group should not be.

# %% tags=["hide-input"]
own = outcomes[outcomes["encoder"] == encoder]
adjusted = findings.adjusted_for_recorded(own, group, corpus, ["duration_s"])
glue("sid_adjusted", sentences.adjusted_sentence(adjusted, contrast), display=False)
charts.table(findings.adjusted_table(adjusted, contrast), "Raw and adjusted gaps at every layer, with 95 % intervals")

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>Does age matter within the groups, or two columns at once?</summary>
#
# Children are not all of one age, and every speaker belongs to several groups at once.
# These comparisons were chosen after the first outcomes had been seen. They explore, and they decide nothing.
# Slopes are fitted by least squares over speakers.
# A star marks a value that is significant over all layers together.

# %% tags=["hide-input"]
slopes = ages.age_slopes(own, group)
glue("sid_ages", ages.ages_sentence(slopes), display=False)
if len(slopes):
    by_age = ages.ages_table(slopes, ages.by_age_band(own, group))
    display(charts.table(by_age, "Log odds ratios of error by age, within each group"))
charts.show_table(
    ages.intersections_table(own, group), "Every combination of groups, from the lowest error to the highest"
)

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>Which other groups does the corpus record?</summary>
#
# The same rule, applied to every column with enough speakers.
# Each verdict is adjusted for all layers and contrasts of its own column, but not for the number of columns.

# %% tags=["remove-input"]
every = findings.all_contrasts(findings.every_column(own), encoder)
glue("sid_contrasts", sentences.contrasts_sentence(every), display=False)
charts.table(every, f"Every contrast for {words.encoder_label(encoder)}")

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>Would log-mel with more context show the same?</summary>
#
# An embedding can have more numbers for each utterance than plain log-mel.
# So log-mel was also probed with more context, and with four times as many numbers.
# The verdict above compares with plain log-mel, since the mean over an utterance takes in all of it anyway.

# %% tags=["remove-input"]
wider = [published(name, corpus, "sid", "speaker", "linear") for name in ("logmel-25ms", "logmel", *LOGMEL_AROUND)]
wider = [only_groups(table, group, asked.groups) for table in wider if len(table) and table[group].notna().any()]
if len(wider) > 1:
    ladder = pd.concat(wider, ignore_index=True)
    table = findings.ladder_table(ladder, group_bias(ladder, by=group), contrast)
    display(charts.table(table, "Speaker identification from log-mel with more and more context, with 95 % intervals"))
    every = pd.concat([outcomes, ladder[ladder["encoder"] != "logmel"]], ignore_index=True)
    again = where.where_and_whose(every, group_bias(every, by=group), group, encoder, contrast)["whose"]
    display(Markdown(f"Compared with the log-mel that hears as much as the layer: *{again.verdict}*. {again.sentence}"))
else:
    display(Markdown("*No such outcomes are published for these people.*"))

# %% [markdown]
# </details>

# %% [markdown]
# ## Does it survive stricter tests?
#
# If each person was recorded in one room, a probe may know the room and not the voice.
# And a person who stands among many similar voices is harder to identify.
# Each of the following views weakens one such reason: a random *channel* for every utterance (level, equaliser, noise,
# codec), *equal shares* of each group, *a few candidates* with equal numbers of each group, and *verification*, where
# two utterances come from one person or from two.
#
# **Does a gap remain?** *{glue:text}`sid_voice_verdict`.* {glue:text}`sid_voice`
#
# <details class="more"><summary>Hear a random channel</summary>

# %% tags=["hide-input"]
try:
    plain = read_audio(examples()["clear"])
except CorpusError as error:  # no synthesiser here: the rest of the chapter does not need it
    display(Markdown(words.plain(str(error))))
else:
    channels = {f"channel {number + 1}": perturb(plain, f"example {number}") for number in range(3)}
    display(sounds.players({"as made": plain, **channels}, "A synthetic voice through three random channels"))

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>Every view, with the controls; the rule behind the verdict</summary>
#
# {glue:text}`sid_voice_criterion`

# %% tags=["hide-input"]
every_view = views.of_groups(
    [views.speaker_views(name, corpus, group, seeds, force and name == encoder) for name in names], group, asked.groups
)
fair = views.views_bias(every_view, group)
voice = views.is_it_the_voice(fair, encoder, contrast, layer)
charts.table(
    views.views_table(fair, encoder, contrast, layer), f"Error and gap ({contrast}, log odds ratio) in every view"
)

# %% tags=["remove-input", "remove-output"]
glue("sid_voice", voice.sentence)
glue("sid_voice_verdict", voice.verdict)
glue("sid_voice_criterion", voice.criterion)

# %% [markdown]
# </details>

# %% [markdown]
# ### One person or two?
#
# A door that opens to its owner's voice can fail in two ways: it stays shut for the owner, or it opens for somebody
# else.
# Here all pairs of test utterances are compared at one threshold for everybody, at which both errors are equally
# frequent overall.
# Within a group they need not be.

# %% tags=["hide-input"]
doors = views.verification_table(every_view, group)
if doors.empty:
    display(Markdown("This corpus has too few people in the compared groups for such comparisons."))
else:
    display(charts.table(doors, "Errors of verification at one threshold for all, with 95 % intervals over speakers"))

# %% [markdown]
# <details class="more"><summary>Whom is a speaker confused with?</summary>
#
# If errors ignored group membership, a speaker would be confused with one of their own group as often as that group's
# share among the others.

# %% tags=["hide-input"]
if (outcomes["predicted"] != "").all():
    whom = views.own_group_table(outcomes, group, encoder)
    display(charts.table(whom, "How many of a group's errors name another of the same group"))
else:
    display(Markdown("Verification names nobody, so this cannot be asked here."))

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>Is it the layer, or the probe? Four probes of the same layers</summary>
#
# A probe that could learn anything would say nothing about the layer.
# With *shuffled* names there is nothing to learn, so its errors must be those of guessing {cite}`hewitt2019`.
# A probe with a *hidden* layer could read what a linear one cannot.
# The *code length* counts the bits needed to send each utterance's speaker to somebody who has the layer: the fewer,
# the more plainly the layer shows who speaks {cite}`voita2020`.

# %% tags=["hide-input"]
try:
    kinds = {"errors of the linear probe": outcomes, **views.other_speaker_probes(names, corpus)}
    code = pd.concat([fairlib.description_length(name, corpus, seeds=1, task="sid") for name in names])
    display(charts.table(views.controls_table(kinds, code), "Four probes of the same layers"))
except ProbeError as error:
    display(Markdown(f"This cannot be asked here: {words.plain(str(error))}"))

# %% [markdown]
# </details>

# %% [markdown]
# ## What could be wrong

# %% tags=["remove-input"]
Markdown(sentences.cautions("sid", encoder, corpus, group))

# %% [markdown]
# ## Rerun it
#
# The command that made this page; put another encoder, corpus or group in its place:

# %% tags=["remove-input"]
parameters = dict(encoder=encoder, corpus=corpus, group=group, seeds=seeds, layer=layer, force=force)
rerun("speaker-identification", parameters)

# %% [markdown]
# ## Exercises
#
# :::{exercise} Look
# :label: speakers-look
# The untrained twin has never heard speech.
# How well does it identify speakers nevertheless, and what does its gap say about the trained encoder's?
# :::
#
# :::{solution-start} speakers-look
# :class: dropdown
# :::
#
# Far better than chance, which is right once in as many tries as there are speakers.
# A random network passes on enough of the sound to identify many people, or the rooms they were recorded in.
# Where the twin shows a gap as well, training cannot have made all of it.

# %% tags=["solution"]
import pandas as pd

import fairlib
from fairlib.bias.dose import with_bands  # of a number such as age, bands are compared
from fairlib.findings import main_contrast, mean_error

three = [encoder, f"random:{encoder}", "logmel"]
outcomes = pd.concat([fairlib.probe_speakers(name, corpus, seeds=seeds) for name in three])
error = mean_error(outcomes)
best = error.loc[error.groupby("encoder", sort=False)["error"].idxmin()].set_index("encoder")
bias = fairlib.group_bias(with_bands(outcomes, group), by=group).query("scale == 'log_odds'")
bias = bias[bias["contrast"] == main_contrast(bias, encoder)].set_index(["encoder", "layer"])
best["gap (log odds ratio)"] = [bias.loc[(name, row["layer"]), "estimate"] for name, row in best.iterrows()]
print(f"Guessing would be wrong {1 - 1 / outcomes['speaker_id'].nunique():.1%} of the time.")
best[["layer", "error", "gap (log odds ratio)"]].round(2)

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Try
# :label: speakers-try
# Rank the layers by the size of their gap, once as a difference and once as a ratio.
# Find two layers whose order is reversed.
# Which of the two scales would you report, and to whom?
# :::
#
# :::{solution-start} speakers-try
# :class: dropdown
# :::
#
# A difference counts utterances that went wrong, which matters to whoever runs a service for many people.
# A ratio compares what it is like to be in one group or the other, which matters to them.
# Whichever you report, show the other beside it.

# %% tags=["solution"]
import numpy as np

import fairlib
from fairlib.bias.dose import with_bands  # of a number such as age, bands are compared
from fairlib.findings import main_contrast

outcomes = with_bands(fairlib.probe_speakers(encoder, corpus, seeds=seeds), group)
bias = fairlib.group_bias(outcomes, by=group)
rows = bias[bias["contrast"] == main_contrast(bias, encoder)]
wide = rows.pivot(index="layer", columns="scale", values="estimate").loc[fairlib.layer_order(rows["layer"])]
size = wide.assign(difference=wide["difference"].abs(), ratio=np.log(wide["ratio"]).abs())
wide.assign(
    rank_as_difference=size["difference"].rank(ascending=False).astype(int),
    rank_as_ratio=size["ratio"].rank(ascending=False).astype(int),
).round(2)

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Build
# :label: speakers-build
# How many speakers does the finding need?
# Keep only some people of the first group, drawn at random, and all of the other.
# At how many does the interval at the best layer begin to touch zero?
# :::
#
# :::{solution-start} speakers-build
# :class: dropdown
# :::
#
# The interval widens about as the root of the number falls.
# A corpus with a handful of people in a group could have reported "no gap shown" about the very same encoder.

# %% tags=["solution"]
import pandas as pd

import fairlib
from fairlib.bias.contrasts import contrast_groups
from fairlib.bias.dose import with_bands
from fairlib.findings import main_contrast, mean_error

outcomes = with_bands(fairlib.probe_speakers(encoder, corpus, seeds=seeds), group)
contrast = main_contrast(fairlib.group_bias(outcomes, by=group), encoder)
first = contrast_groups(contrast)[0]
error = mean_error(outcomes)
layer = outcomes[outcomes["layer"] == error.loc[error["error"].idxmin(), "layer"]]
people = layer.loc[layer[group] == first, "speaker_id"].drop_duplicates().sample(frac=1, random_state=0)
rows = []
for number in (3, 5, 10, 20, 40, 80):
    if number > len(people):
        break
    kept = layer[(layer[group] != first) | layer["speaker_id"].isin(people[:number])]
    gap = fairlib.group_bias(kept, by=group, permutations=200).query("scale == 'log_odds' and contrast == @contrast")
    rows.append([number, *gap[["estimate", "low", "high"]].iloc[0]])
pd.DataFrame(rows, columns=[f"speakers: {first}", "log odds ratio", "from", "to"]).round(2)

# %% [markdown]
# :::{solution-end}
# :::
#
# ## The next question
#
# Who is speaking is audible before any encoder hears it.
# What was *said* is less plainly there, so an encoder may well add a gap of its own.
# Does it? In [the next chapter](06_speech_recognition.ipynb) a probe writes down what it hears.
#
# ## Provenance

# %% tags=["remove-input"]
provenance_box(asked.runs, parameters, findings=[*found.values(), voice])
