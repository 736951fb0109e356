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
# **The question.** A small classifier reads the embeddings of one layer and says who is speaking.
# Does it get some groups of speakers wrong more often than others, from which layer on, and is that the
# encoder's doing?
#
# **The answer.** Does the gap differ between layers? *{glue:text}`sid_where_verdict`*. {glue:text}`sid_where`
# Unequal from the first layers on? *{glue:text}`sid_begins_verdict`*. {glue:text}`sid_begins`
# The encoder's own doing? *{glue:text}`sid_whose_verdict`*. {glue:text}`sid_whose`
#
# Within the groups? {glue:text}`sid_ages`
#
# **How it was judged**, by these rules:
#
# - *Does it differ between layers?* {glue:text}`sid_where_criterion`
# - *From which layer on?* {glue:text}`sid_begins_criterion`
# - *Whose gap is it?* {glue:text}`sid_whose_criterion`

# %% tags=["remove-cell"]
import fairlib  # not found? In a clone: pip install -c constraints.txt -e ".[book]", then restart the kernel

# %% tags=["parameters", "hide-input"]
encoder = "pocket-hubert"  # any encoder that fairlib.load_encoder knows
corpus = "speechocean762"  # any corpus that fairlib.load_corpus knows
group = "age_group"  # a column of the corpus that describes its speakers
seeds = 5  # probes trained per layer, each from another seed
layer = ""  # the layer of the closer look; left empty, the one that identifies speakers best
force = False  # compute the encoder's outcomes again, even where they are stored or published

# %% [markdown]
# ## The whole analysis
#
# Outcomes are the hub of everything: one row for each encoder, layer, seed and utterance, right or wrong.
# Two controls go through exactly the same steps: an *untrained twin* of the encoder, with random weights,
# and *log-mel*, the plain spectrogram.

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import Markdown, display
from myst_nb import glue

import fairlib
from fairlib import findings
from fairlib.bias import FEWEST_SHOWN, group_bias, group_columns, group_errors
from fairlib.bias.adjustment import adjusted_gaps
from fairlib.book.provenance import provenance_box, rerun
from fairlib.corpora.recordings import recording_noise
from fairlib.display import charts, sentences, words
from fairlib.findings import ages, questions
from fairlib.findings.views import (
    controls_table,
    identify_or_verify,
    is_it_the_voice,
    of_groups,
    other_speaker_probes,
    own_group_table,
    speaker_views,
    verification_table,
    views_bias,
    views_table,
)
from fairlib.findings.where import do_layers_differ
from fairlib.probes import ProbeError

charts.use_book_renderer()

names = [encoder, *findings.controls(encoder)]
asked = questions.ask(
    {"sid": lambda: [identify_or_verify(name, corpus, group, seeds, force and name == encoder) for name in names]},
    by=group,
).or_stop()
outcomes, contrast = asked.outcomes["sid"], asked.contrast
errors = group_errors(outcomes, by=group)
bias = findings.mark_saturated(group_bias(outcomes, by=group), outcomes)
if asked.said:
    display(Markdown(words.bullets(asked.said)))

# %% tags=["hide-input"]
where = do_layers_differ(outcomes, group, encoder, contrast)
begins = findings.where_bias_begins(bias, encoder, contrast)
differences = findings.control_differences(outcomes, group, encoder)
whose = findings.whose_gap(bias, differences, encoder, contrast)

lead = charts.bias_by_layer(
    bias,
    contrast=contrast,
    title=sentences.gap_title(bias, encoder, contrast),
    description=sentences.describe_gaps(bias, encoder, contrast),
)
lead

# %% [markdown]
# *How to read it.* Zero means that both sides are identified equally well.
# Where a band does not touch the line of no gap, the gap is larger than chance among this many speakers would
# make it.
# Where the encoder's line runs with log-mel's, the gap was in the signal before any encoder heard it.

# %% tags=["remove-input", "remove-output"]
glue("sid_lead", lead)
glue("sid_sentence", sentences.in_one_sentence(errors, bias, encoder, contrast, where))
glue("sid_plain", sentences.in_plain_words(errors, bias, encoder, contrast, whose))
for name, finding in {"where": where, "begins": begins, "whose": whose}.items():
    glue(f"sid_{name}", finding.sentence)
    glue(f"sid_{name}_verdict", finding.verdict)
    glue(f"sid_{name}_criterion", finding.criterion)

# %% [markdown]
# ## The detail, layer by layer
#
# Other groups, other layers, another scale? [The explorer](../book/explorer.md) computes them in your browser.
# The error of each group, and what each layer says.
# Layer `cnn` is the output of the convolutions, `0` is what enters the transformer, and the numbers are its
# blocks.

# %% tags=["hide-input"]
of_groups_by_layer = charts.error_by_layer(
    errors,
    encoder=encoder,
    title=sentences.errors_title(bias, encoder, contrast),
    description=sentences.describe_errors(errors, encoder),
)
glue("sid_errors", of_groups_by_layer, display=False)
of_groups_by_layer

# %% tags=["remove-input"]
lines = sentences.layer_sentences(errors, bias, encoder, contrast)
lines.append(sentences.best_layer_sentence(outcomes, encoder))
if lines:
    display(Markdown(words.bullets(lines)))

# %% [markdown]
# Every number behind the charts, with 95 % intervals over speakers (whole speakers are resampled, never
# single utterances):

# %% tags=["remove-input"]
charts.table(findings.layer_table(errors, bias, contrast), "Errors and gaps at every layer, with 95 % intervals")

# %% [markdown]
# ### The same gaps on three scales
#
# Which scale a gap is measured on can decide what one sees.
# If the odds of an error differed between two groups by one constant factor at every layer, their *ratio* of
# errors would still
# rise as errors fall, and their *difference* would be largest where about half of all answers are wrong.
# Only the log odds ratio would stay level.
# A pattern that shows on one scale alone may thus be the metric's, not the encoder's.

# %% tags=["hide-input"]
for chart in charts.three_scales(
    bias,
    contrast=contrast,
    titles=sentences.scale_titles(bias, encoder, contrast),
    description=sentences.describe_gaps(bias, encoder, contrast),
):
    display(chart)

# %% tags=["remove-input"]
Markdown(sentences.scales_sentence(bias, encoder, contrast))

# %% [markdown]
# ### Every contrast that the corpus records
#
# The same rule, applied to all groups that can be compared here.
# Each verdict is adjusted for all layers and contrasts of its own column, not for the number of columns.

# %% tags=["remove-input"]
own = outcomes[outcomes["encoder"] == encoder]
charts.table(
    findings.all_contrasts(findings.every_column(own), encoder), f"Every contrast for {words.encoder_label(encoder)}"
)

# %% [markdown]
# ### How old? And two columns at once
#
# "Child" is not one age, and a group is not one kind of people.
# Here is what a year more does to a speaker's errors *within* each group, from layer to layer, by least squares over
# speakers; and the younger against the older ones.
# A star marks what is larger than chance would make it, over all layers together.
# These comparisons were chosen after the first outcomes had been seen: they explore, and decide nothing.

# %% tags=["hide-input"]
slopes = ages.age_slopes(own, group)
said_of_ages = "The ages of these people are not recorded."
if len(slopes):
    said_of_ages = ages.ages_sentence(slopes)
    by_band = ages.by_age_band(own, group)
    display(charts.table(ages.ages_table(slopes, by_band), "Log odds ratios of error by age, within each group"))

# %% tags=["remove-input", "remove-output"]
glue("sid_ages", said_of_ages)

# %% tags=["remove-input"]
display(Markdown(said_of_ages))
crossed = ages.intersections_table(own, group)
if len(crossed):
    display(charts.table(crossed, "Every pair of groups, from the lowest error to the highest"))

# %% [markdown]
# ### Adjusted for what else differs
#
# Groups differ in more than their names say.
# Here the gap is estimated anew at equal values of the length of the utterance, of its noise (speech over noise, in
# decibels, estimated from the pauses) and of the other recorded columns, beside the raw one from the same regression
# {cite}`liu2021`.
# What was not recorded cannot be adjusted for, and what is part of being in a group should not be.

# %% tags=["hide-input"]
own = outcomes[outcomes["encoder"] == encoder]
own = own.assign(snr_db=own["utterance_id"].map(recording_noise(corpus)))
covariates = ["duration_s", "snr_db"] + [column for column in group_columns(own, FEWEST_SHOWN) if column != group]
adjusted = adjusted_gaps(own, by=group, covariates=covariates)
charts.table(findings.adjusted_table(adjusted, contrast), "Raw and adjusted gaps at every layer, with 95 % intervals")

# %% [markdown]
# ## Does it survive stricter tests?
#
# Identifying a speaker among all that a corpus holds is not a fair contest.
# Each person was recorded in a room of their own, so a probe may know the room and not the voice; and who stands among
# many similar voices is harder to identify.
# Here the question is asked again in other ways, each of which takes one such reason away: through a random *channel*
# for every utterance (level, equaliser, noise, codec), with *equal shares* of each group, among *a few candidates* of
# which each group has as many, and as *verification*, where two utterances come from one person or from two.
#
# **Is it the voice?** *{glue:text}`sid_voice_verdict`*. {glue:text}`sid_voice`
#
# *How it was judged.* {glue:text}`sid_voice_criterion`

# %% tags=["hide-input"]
views = of_groups(
    [speaker_views(name, corpus, group, seeds, force and name == encoder) for name in names], group, asked.groups
)
fair = views_bias(views, group)
voice = is_it_the_voice(fair, encoder, contrast, layer)
charts.table(
    views_table(fair, encoder, contrast, layer),
    f"Error and gap ({contrast}, log odds ratio) however the question is asked",
)

# %% tags=["remove-input", "remove-output"]
glue("sid_voice", voice.sentence)
glue("sid_voice_verdict", voice.verdict)
glue("sid_voice_criterion", voice.criterion)

# %% [markdown]
# ### One person or two?
#
# A door that opens to its owner's voice can fail somebody in two ways: it stays shut for the owner, or it opens for
# somebody else.
# Here every two utterances of the test half are compared, and one threshold serves everybody: the one at which both
# kinds of error are equally frequent over all.
# Within a group they need not be: the groups for whom the door stays shut, and those for whom it opens to others, pay
# for a threshold that was set for all.

# %% tags=["hide-input"]
doors = verification_table(views, group)
if doors.empty:
    display(Markdown("This corpus has too few people in the compared groups for such comparisons."))
else:
    display(charts.table(doors, "Errors of verification at one threshold for all, with 95 % intervals over speakers"))

# %% [markdown]
# ### Whom an error names
#
# If errors ignored group membership, a speaker would be taken for one of their own group as often as that group's share
# among the others.

# %% tags=["hide-input"]
if (outcomes["predicted"] != "").all():
    whom = own_group_table(outcomes, group, encoder)
    display(charts.table(whom, "How many of a group's errors name another of the same group"))
else:
    display(Markdown("Verification names nobody, so this cannot be asked here."))

# %% [markdown]
# ### Is it the layer, or the probe?
#
# A probe that could learn anything would say nothing of the layer.
# With *shuffled* names there is nothing to learn, and its errors must be those of guessing {cite}`hewitt2019`.
# A probe with a *hidden* layer could read what a linear one cannot, given speech enough of every speaker to learn from.
# And the *code length* counts the bits that it takes to send each utterance's speaker to somebody who has the layer:
# the fewer, the plainer the layer shows who speaks {cite}`voita2020`.


# %% tags=["hide-input"]
try:
    kinds = {"errors of the linear probe": outcomes, **other_speaker_probes(names, corpus)}
    code = pd.concat([fairlib.description_length(name, corpus, seeds=1, task="sid") for name in names])
    display(charts.table(controls_table(kinds, code), "Four probes of the same layers"))
except ProbeError as error:
    display(Markdown(f"This cannot be asked here: {words.plain(str(error))}"))

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
# How well does it identify speakers all the same, and what does its gap say about that of the trained encoder?
# :::
#
# :::{solution-start} speakers-look
# :class: dropdown
# :::
#
# Far better than guessing, which is right once in as many tries as there are speakers.
# What a random network passes on of the sound is enough to know many people by, or the rooms they were recorded in.
# Where the twin shows a gap as well, training cannot have made all of it.

# %% tags=["solution"]
import pandas as pd

import fairlib
from fairlib.findings import main_contrast, mean_error

three = [encoder, f"random:{encoder}", "logmel"]
outcomes = pd.concat([fairlib.probe_speakers(name, corpus, seeds=seeds) for name in three])
error = mean_error(outcomes)
best = error.loc[error.groupby("encoder", sort=False)["error"].idxmin()].set_index("encoder")
bias = fairlib.group_bias(outcomes, by=group).query("scale == 'log_odds'")
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
# Find two layers whose order turns round.
# Which of the two scales would you report, and to whom?
# :::
#
# :::{solution-start} speakers-try
# :class: dropdown
# :::
#
# A difference counts utterances that went wrong, and speaks to who runs a service for many people.
# A ratio compares what it is like to be in the one group or the other, and speaks to them.
# Whichever one reports, the other belongs beside it.

# %% tags=["solution"]
import numpy as np

import fairlib
from fairlib.findings import main_contrast

bias = fairlib.group_bias(fairlib.probe_speakers(encoder, corpus, seeds=seeds), by=group)
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
from fairlib.findings import main_contrast, mean_error

outcomes = fairlib.probe_speakers(encoder, corpus, seeds=seeds)
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
# That was about voices, or about the rooms around them: who is speaking is in the sound before any encoder hears it.
# What was *said* is not so plainly there, and an encoder may well bring a gap of its own.
# Does it? [The next chapter](06_speech_recognition.ipynb) lets a probe write down what it hears.
#
# ## Provenance

# %% tags=["remove-input"]
provenance_box(asked.runs, parameters, findings=[where, begins, whose, voice])
