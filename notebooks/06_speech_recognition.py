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
# # Speech recognition, layer by layer
#
# **The question.** A small recogniser reads the frames of one layer and writes down what was said.
# Does it get some groups of speakers wrong more often than others, from which layer on, and is that the
# encoder's doing?
#
# **The answer.** Does the gap differ between layers, in characters? *{glue:text}`asr_where_verdict`*.
# {glue:text}`asr_where` Unequal from the first layers on? *{glue:text}`asr_begins_verdict`*.
# {glue:text}`asr_begins` The encoder's own doing? *{glue:text}`asr_whose_verdict`*. {glue:text}`asr_whose`
#
# Within the groups? {glue:text}`asr_ages`
#
# And in phones, frame by frame? *{glue:text}`phone_where_verdict`*. {glue:text}`phone_where` Unequal from the first layers on? *{glue:text}`phone_begins_verdict`*. {glue:text}`phone_begins`
# The encoder's own doing? *{glue:text}`phone_whose_verdict`*. {glue:text}`phone_whose`
#
# **How it was judged**, by these rules:
#
# - *Does it differ between layers?* {glue:text}`asr_where_criterion`
# - *From which layer on?* {glue:text}`asr_begins_criterion`
# - *Whose gap is it?* {glue:text}`asr_whose_criterion`

# %% tags=["remove-cell"]
import fairlib  # not found? In a clone: pip install -c constraints.txt -e ".[book]", then restart the kernel

# %% tags=["parameters", "hide-input"]
encoder = "pocket-hubert"  # any encoder that fairlib.load_encoder knows
corpus = "speechocean762"  # any corpus that fairlib.load_corpus knows
group = "age_group"  # a column of the corpus that describes its speakers
seeds = 1  # probes trained per layer, each from another seed
probe = "context"  # "linear", or "context": a small head that sees neighbouring frames
force = False  # compute the encoder's outcomes again, even where they are stored or published

# %% [markdown]
# ## The whole analysis
#
# Outcomes are the hub of everything: one row for each encoder, layer, seed and utterance,
# with its number of wrong characters and words (substituted, left out or put in) and how many there were to
# get right.
# Probes are trained on some speakers and tested on others.
# Two controls go through exactly the same steps: an *untrained twin* of the encoder, with random weights,
# and *log-mel*, the plain spectrogram.

# %% tags=["hide-input"]
from dataclasses import replace

import pandas as pd
from IPython.display import Markdown, display
from myst_nb import glue

import fairlib
from fairlib import findings
from fairlib.bias import FEWEST_SHOWN, group_bias, group_columns, group_errors, only_groups
from fairlib.bias.adjustment import adjusted_gaps
from fairlib.book.provenance import provenance_box, rerun
from fairlib.corpora.recordings import recording_noise
from fairlib.display import charts, sentences, words
from fairlib.findings import ages, mean_error, questions
from fairlib.findings.instrument import passes_table, stronger_table
from fairlib.findings.robustness import phone_probes
from fairlib.findings.unaligned import unaligned_sentence, unaligned_table
from fairlib.findings.views import controls_table
from fairlib.findings.where import WHERE_CLAIM, WHERE_CRITERION, do_layers_differ

charts.use_book_renderer()

names = [encoder, *findings.controls(encoder)]
asked = questions.ask(
    {
        "asr": lambda: [
            fairlib.probe_characters(name, corpus, probe, seeds, force and name == encoder) for name in names
        ]
    },
    by=group,
).or_stop()
everything, contrast = asked.outcomes["asr"], asked.contrast
outcomes = everything[everything["unit"] == "char"]
errors = findings.mark_saturated(group_errors(outcomes, by=group), outcomes)
bias = findings.mark_saturated(group_bias(outcomes, by=group), outcomes)
if asked.said:
    display(Markdown(words.bullets(asked.said)))

# %% tags=["hide-input"]
where = do_layers_differ(outcomes, group, encoder, contrast)
begins = findings.where_bias_begins(bias, encoder, contrast)
differences = findings.control_differences(outcomes, group, encoder)
whose = findings.whose_gap(bias, differences, encoder, contrast)

charts.bias_by_layer(
    bias,
    contrast=contrast,
    title=sentences.gap_title(bias, encoder, contrast),
    description=sentences.describe_gaps(bias, encoder, contrast),
)

# %% [markdown]
# *How to read it.* Zero means that both sides are recognised equally well; hollow marks are layers where
# so much is wrong for everybody that a gap means little.
# Where a band does not touch the line of no gap, the gap is larger than chance among this many speakers would
# make it.
# Where the encoder's line runs with log-mel's, the gap was in the signal before any encoder heard it.

# %% tags=["remove-input", "remove-output"]
glue("asr_plain", sentences.in_plain_words(errors, bias, encoder, contrast, whose))
for name, finding in {"where": where, "begins": begins, "whose": whose}.items():
    glue(f"asr_{name}", finding.sentence)
    glue(f"asr_{name}_verdict", finding.verdict)
    glue(f"asr_{name}_criterion", finding.criterion)

# %% [markdown]
# ## The detail, layer by layer
#
# Other groups, other layers, another scale? [The explorer](../book/explorer.md) computes them in your browser.
# The error of each group, and what each layer says.
# Layer `cnn` is the output of the convolutions, `0` is what enters the transformer, and the numbers are its
# blocks.

# %% tags=["hide-input"]
charts.error_by_layer(
    errors,
    encoder=encoder,
    title=sentences.errors_title(bias, encoder, contrast),
    description=sentences.describe_errors(errors, encoder),
)

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
# rise as errors fall, and their *difference* would be largest where about half of all characters are wrong.
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
# ### Words instead of characters
#
# One wrong character makes a whole word wrong, so words saturate sooner.

# %% tags=["hide-input"]
in_words = everything[everything["unit"] == "word"]
said = "This corpus is written without spaces between words: there are no words to count errors in."
if len(in_words):
    word_errors = findings.mark_saturated(group_errors(in_words, by=group), in_words)
    word_bias = findings.mark_saturated(group_bias(in_words, by=group), in_words)
    said = words.plain(findings.where_bias_begins(word_bias, encoder, contrast).sentence)
    display(
        charts.error_by_layer(
            word_errors,
            encoder=encoder,
            title=sentences.errors_title(word_bias, encoder, contrast) + ", counted in words",
            description=sentences.describe_errors(word_errors, encoder),
        )
    )

# %% tags=["remove-input"]
Markdown(said)

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
glue("asr_ages", said_of_ages)

# %% tags=["remove-input"]
display(Markdown(said_of_ages))
crossed = ages.intersections_table(own, group)
if len(crossed):
    display(charts.table(crossed, "Every pair of groups, from the lowest error to the highest"))

# %% [markdown]
# ### Which errors?
#
# Two groups can have the same error and yet fail in other ways: characters left out, taken for others, or put in.

# %% tags=["hide-input"]
who = " and of ".join(words.sides(group, contrast))
charts.table(
    ages.kinds_table(own, group, contrast),
    f"Errors of {who}, in percent of their characters; below, how far they lie apart, in points (95 % interval)",
)

# %% [markdown]
# ### Was the probe trained for long enough?
#
# These probes pass a few times over the speech that they are trained on, all alike.
# Had they gone on, they would err less. Does the gap stay?

# %% tags=["remove-input"]
longer = passes_table(encoder, corpus, group)
if len(longer):
    display(charts.table(longer, "Character probes trained for less and for longer, with 95 % intervals over speakers"))
else:
    display(Markdown("*Of these people nothing is published of longer trainings.*"))

# %% [markdown]
# ### Would a stronger probe find another gap?
#
# With eight hours of speech to train on, a head of two convolutions misses many characters.
# A recurrent head (two bidirectional LSTM layers) misses fewer, and so does a beam search with a character language
# model, which knows the spelling of the training texts. Hiding spans of the features in training is a third way.
# Here is what each gains on one layer, and the gap that it finds. Nothing was tuned on these speakers.

# %% tags=["remove-input"]
stronger = stronger_table(encoder, corpus, group)
if len(stronger):
    display(
        charts.table(stronger, "Character probes of one layer, the usual one first, with 95 % intervals over speakers")
    )
else:
    display(Markdown("*No stronger probe was trained on this encoder and these people.*"))

# %% [markdown]
# ### Adjusted for what else differs
#
# Groups differ in more than their names say.
# Here the gap is estimated anew at equal values of the length of the text, the characters spoken in a second, the noise
# of the recording (speech over noise, in decibels, estimated from the pauses) and the other recorded columns, beside
# the raw one from the same regression.
# What was not recorded cannot be adjusted for, and what is part of being in a group should not be.

# %% tags=["hide-input"]
own = outcomes[outcomes["encoder"] == encoder]
own = own.assign(rate=own["length"] / own["duration_s"], snr_db=own["utterance_id"].map(recording_noise(corpus)))
covariates = ["length", "rate", "snr_db"] + [column for column in group_columns(own, FEWEST_SHOWN) if column != group]
adjusted = adjusted_gaps(own, by=group, covariates=covariates)
charts.table(findings.adjusted_table(adjusted, contrast), "Raw and adjusted gaps at every layer, with 95 % intervals")

# %% [markdown]
# ## Phones, moment by moment
#
# A recogniser has to get a whole sentence right, letter by letter, and a weak layer gets almost none of it.
# There is a plainer question: which *phone* sounds in this fiftieth of a second?
# A linear probe answers it frame by frame and needs no neighbours and no spelling, so that even a weak layer has something
# to say.
# The labels come from a program that laid the text over the sound, and so from a dictionary of how adults in America say it.
#
# **Unequal from the first layers on?** *{glue:text}`phone_begins_verdict`*. {glue:text}`phone_begins`
#
# **The encoder's own doing?** *{glue:text}`phone_whose_verdict`*. {glue:text}`phone_whose`
#
# The rules are those from the top of the page.

# %% tags=["hide-input"]
in_context = [encoder, *findings.controls_in_context(encoder)]
in_phones = questions.ask(
    {"phone": lambda: [fairlib.probe_phones(name, corpus, force=force and name == encoder) for name in in_context]},
    by=group,
)
# The same groups as in characters, or none: what is compared must not change within a page.
phones = in_phones.outcomes.get("phone")
if phones is not None and set(asked.groups) <= set(in_phones.groups):
    phones = only_groups(phones, group, asked.groups)
    phone_errors = group_errors(phones, by=group)
    phone_bias = findings.mark_saturated(group_bias(phones, by=group), phones)
    phone_where = do_layers_differ(phones, group, encoder, contrast)
    phone_begins = findings.where_bias_begins(phone_bias, encoder, contrast)
    phone_differences = findings.control_differences(phones, group, encoder)
    phone_whose = findings.whose_gap(phone_bias, phone_differences, encoder, contrast)
    display(
        charts.bias_by_layer(
            phone_bias[phone_bias["encoder"].isin(names)],
            contrast=contrast,
            title=f"In phones, {sentences.gap_title(phone_bias, encoder, contrast)[0].lower()}{sentences.gap_title(phone_bias, encoder, contrast)[1:]}",
            description=sentences.describe_gaps(phone_bias, encoder, contrast),
        )
    )
else:
    phones = None
    why = in_phones.refused.get("phone", "too few people of some group have phones.")
    phone_where = findings.not_asked(WHERE_CLAIM, WHERE_CRITERION, why)
    phone_begins = findings.not_asked(findings.BEGINS_CLAIM, findings.BEGINS_CRITERION, why)
    phone_whose = findings.not_asked(findings.WHOSE_CLAIM, findings.WHOSE_CRITERION, why)
    display(Markdown(words.plain(phone_begins.sentence)))

# %% [markdown]
# Log-mel stands in several widths, because context alone makes phones easier.
# A frame of plain log-mel hears 35 ms; what a convolution or a block hears may be far more.
# So each layer is judged against the log-mel that hears as much as it does, and a block, which hears the whole utterance,
# against the widest:

# %% tags=["remove-input"]
if phones is not None:
    ladder = findings.ladder_table(phones, phone_bias, contrast)
    display(charts.table(ladder, "Phones from log-mel that hears more and more, with 95 % intervals"))

# %% tags=["hide-input"]
if phones is not None:
    phone_errors = phone_errors[phone_errors["encoder"].isin(names)]
    display(
        charts.error_by_layer(
            phone_errors,
            encoder=encoder,
            title=sentences.errors_title(phone_bias, encoder, contrast) + ", counted in phones",
            description=sentences.describe_errors(phone_errors, encoder),
        )
    )

# %% tags=["remove-input"]
if phones is not None:
    display(Markdown(words.bullets(sentences.layer_sentences(phone_errors, phone_bias, encoder, contrast))))

# %% tags=["remove-input", "remove-output"]
phone_plain = phone_begins.sentence
if phones is not None:
    phone_plain = sentences.in_plain_words(phone_errors, phone_bias, encoder, contrast, phone_whose)
glue("phone_plain", phone_plain)
for name, finding in {"where": phone_where, "begins": phone_begins, "whose": phone_whose}.items():
    glue(f"phone_{name}", finding.sentence)
    glue(f"phone_{name}_verdict", finding.verdict)

# %% [markdown]
# Two instruments, two pictures: where they disagree, neither is wrong.
# Characters count what a small recogniser makes of whole sentences, phones what each moment of sound gives away.
# And the texts are not the same for both groups: who reads shorter and plainer sentences has easier phones to classify.
# So here, too, the gap at equal length of the utterance, noise of the recording and other recorded columns:

# %% tags=["hide-input"]
if phones is not None:
    own = phones[phones["encoder"] == encoder]
    own = own.assign(snr_db=own["utterance_id"].map(recording_noise(corpus)))
    covariates = ["duration_s", "snr_db"] + [column for column in group_columns(own, FEWEST_SHOWN) if column != group]
    phone_adjusted = adjusted_gaps(own, by=group, covariates=covariates)
    display(
        charts.table(
            findings.adjusted_table(phone_adjusted, contrast),
            "Raw and adjusted gaps in phones at every layer, with 95 % intervals",
        )
    )

# %% [markdown]
# Age within the groups, in phones:

# %% tags=["remove-input"]
if phones is not None:
    slopes = ages.age_slopes(own, group)
    if len(slopes):
        by_band = ages.by_age_band(own, group)
        display(
            charts.table(ages.ages_table(slopes, by_band), "Log odds ratios of phone error by age, within each group")
        )
        display(Markdown(ages.ages_sentence(slopes)))

# %% [markdown]
# A text that the aligner could not lay over the sound has no phones, and it fails more often where speech is far from its
# own.
# So we ask what the missing ones could do at most.

# %% tags=["remove-input"]
if phones is not None:
    best = mean_error(own).set_index("layer")["error"].idxmin()
    missing = unaligned_table(own[own["layer"] == best], outcomes[outcomes["encoder"] == encoder], group)
    display(Markdown(unaligned_sentence(missing, group, contrast, encoder, best)))

# %% [markdown]
# And three more probes of phones.
# One has a *hidden* layer and may read what a linear one cannot.
# One is taught with *equal shares* of speech from every group of sex and age, so that none is better known to it.
# One has a task in which there is nothing to hear, only to memorise, the *control task* {cite}`hewitt2019`: every phone
# between its neighbours has been given another name by lot.
# The lower the probe's own error stands below that, the more is the layer's and not the probe's.

# %% tags=["hide-input"]
of_each = [phone_probes(name, corpus) for name in names]
kinds = {
    f"errors, {kind}": pd.concat(each[kind] for each in of_each)
    for kind in of_each[0]
    if all(kind in each for each in of_each)
}
if len(kinds) > 1:
    display(charts.table(controls_table(kinds), "Phone probes of the same layers"))
else:
    display(Markdown(f"*Nothing is published of these probes for {words.encoder_label(encoder)} on {corpus}.*"))

# %% [markdown]
# ## What could be wrong

# %% tags=["remove-input"]
Markdown(sentences.cautions("asr", encoder, corpus, group))

# %% [markdown]
# ## Rerun it
#
# The command that made this page; put another encoder, corpus or group in its place:

# %% tags=["remove-input"]
parameters = dict(encoder=encoder, corpus=corpus, group=group, seeds=seeds, probe=probe, force=force)
rerun("speech-recognition", parameters)

# %% [markdown]
# ## Exercises
#
# :::{exercise} Look
# :label: recognition-look
# Which layers are saturated: more than six of ten characters wrong, over all speakers?
# If you struck them out, what would be left of the answer at the top?
# :::
#
# :::{solution-start} recognition-look
# :class: dropdown
# :::
#
# The code lists them.
# Where the first layers are among them, "from the first layers on" cannot be judged from characters at all.
# That is a reason for another instrument, not for another verdict.

# %% tags=["solution"]
import fairlib
from fairlib.findings import SATURATED, mean_error

outcomes = fairlib.probe_characters(encoder, corpus, probe, seeds=seeds).query("unit == 'char'")
error = mean_error(outcomes).set_index("layer")["error"].loc[fairlib.layer_order(outcomes["layer"])]
error.to_frame("character error rate").assign(saturated=error > SATURATED).round(2)

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Try
# :label: recognition-try
# Ask the same of every column that the corpus records.
# At which layers does the interval exclude no gap, and is log-mel's gap on the same side?
# :::
#
# :::{solution-start} recognition-try
# :class: dropdown
# :::
#
# `fairlib.group_columns` names what can be compared here.
# The table gives the widest view of one encoder; remember that each more column is one more chance to find something.

# %% tags=["solution"]
import pandas as pd

import fairlib
from fairlib.findings import contrasts, gaps

two = [fairlib.probe_characters(name, corpus, probe, seeds=seeds) for name in (encoder, "logmel")]
outcomes = pd.concat(two).query("unit == 'char'")
rows = []
for column in fairlib.group_columns(outcomes):
    bias = fairlib.group_bias(outcomes, by=column)
    for contrast in contrasts(bias):
        mine, mel = (gaps(bias, name, contrast) for name in (encoder, "logmel"))
        biased = ", ".join(mine.loc[mine["biased"], "layer"]) or "none"
        rows.append([column, contrast, biased, mel["estimate"].iloc[0].round(2)])
pd.DataFrame(rows, columns=["recorded", "contrast", "biased layers", "log-mel's log odds ratio"])

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Build
# :label: recognition-build
# A wrong character was put in the place of another, left out, or put in where none was.
# Take the layer with the lowest error and split each group's error rate into the three.
# Of which kind are the extra errors of the group that is served worse?
# :::
#
# :::{solution-start} recognition-build
# :class: dropdown
# :::
#
# Many left out can mean that speech is faint, or too quick for the probe; many put in, that it is slow or broken up; many
# replaced, that sounds are taken for others.
# The split says where to listen next, not yet why.

# %% tags=["solution"]
import fairlib
from fairlib.findings import mean_error

outcomes = fairlib.probe_characters(encoder, corpus, probe, seeds=seeds).query("unit == 'char'")
error = mean_error(outcomes)
layer = outcomes[outcomes["layer"] == error.loc[error["error"].idxmin(), "layer"]]
kinds = ["substitutions", "deletions", "insertions", "errors"]
sums = layer.groupby(group)[[*kinds, "length"]].sum()
sums[kinds].div(sums["length"], axis=0).round(3)

# %% [markdown]
# :::{solution-end}
# :::
#
# ## The next question
#
# Two tasks have now been asked of the same layers.
# The paper that asked this book's question says that their gaps, too, run opposite ways: smallest where speakers
# are identified best, largest where speech is recognised best.
# Is it so, and would the metric show it even if it were not? [The next chapter](07_opposite_patterns.ipynb) tests it.
#
# ## Provenance

# %% tags=["remove-input"]
judged = {"Characters": (where, begins, whose), "Phones": (phone_where, phone_begins, phone_whose)}
named = [replace(finding, claim=f"{unit}: {finding.claim}") for unit, found in judged.items() for finding in found]
provenance_box([*asked.runs, *in_phones.runs], parameters, "speech-recognition", findings=named)
