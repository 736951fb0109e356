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
# A small recogniser reads the frames of one layer and writes down what was said.
# **Does it misrecognise some groups of speakers more often than others? From which layer on? And does that come from the
# encoder?**

# %% tags=["remove-cell"]
import fairlib  # not found? In a clone: pip install -c constraints.txt -e ".[book]", then restart the kernel

# %% tags=["parameters", "hide-input"]
encoder = "mini-hubert-long"  # any encoder that fairlib.load_encoder knows
corpus = "speechocean762"  # any corpus that fairlib.load_corpus knows
group = "age_group"  # a column of the corpus that describes its speakers
seeds = 1  # probes trained per layer, each from another seed
probe = "context"  # "linear", or "context": a small head that sees neighbouring frames
force = False  # compute the encoder's outcomes again, even where they are stored or published

# %% tags=["hide-input"]
from dataclasses import replace

from IPython.display import HTML, Markdown, display
from myst_nb import glue

import fairlib
from fairlib import findings
from fairlib.bias import group_bias, group_errors, only_groups
from fairlib.book.provenance import provenance_box, rerun
from fairlib.display import charts, sentences, words
from fairlib.display.links import explorer_link
from fairlib.findings import ages, instrument, questions, robustness, unaligned, views, where

charts.use_book_renderer()

names = [encoder, *findings.controls(encoder)]
asked = questions.ask(
    {"asr": lambda: [fairlib.probe_characters(one, corpus, probe, seeds, force and one == encoder) for one in names]},
    by=group,
).or_stop()
everything, contrast = asked.outcomes["asr"], asked.contrast
outcomes = everything[everything["unit"] == "char"]
errors = findings.mark_saturated(group_errors(outcomes, by=group), outcomes)
bias = findings.mark_saturated(group_bias(outcomes, by=group), outcomes)
if asked.said:
    display(Markdown(words.bullets(asked.said)))

# %% tags=["remove-input"]
charts.error_by_layer(errors, encoder=encoder, bias=bias, contrast=contrast)

# %% [markdown]
# **The answer, in characters.** {glue:text}`asr_plain`
#
# - **Does the gap differ between layers?** *{glue:text}`asr_where_verdict`.* {glue:text}`asr_where`
# - **Is there a gap from the first layers on?** *{glue:text}`asr_begins_verdict`.* {glue:text}`asr_begins`
# - **Does it come from the encoder?** *{glue:text}`asr_whose_verdict`.* {glue:text}`asr_whose`
#
# **In phones**, frame by frame: {glue:text}`phone_plain`
#
# <details class="more"><summary>The rules behind these verdicts</summary>
#
# - *Does it differ between layers?* {glue:text}`asr_where_criterion`
# - *From which layer on?* {glue:text}`asr_begins_criterion`
# - *Whose gap is it?* {glue:text}`asr_whose_criterion`
#
# </details>
#
# Layer `cnn` is the output of the convolutions, `0` is what enters the transformer, and the numbers are its blocks.

# %% tags=["remove-input"]
HTML(explorer_link(corpus, encoder, group, contrast, ["asr", "phone"]))

# %% [markdown]
# ## How large is the gap in characters, and whose is it?
#
# The gap as a log odds ratio, beside the two controls: the *untrained twin*, which is the same network randomly
# initialised, and *log-mel*, the plain spectrogram.

# %% tags=["hide-input"]
found = where.where_and_whose(outcomes, bias, group, encoder, contrast)
charts.bias_by_layer(bias, encoder=encoder, contrast=contrast)

# %% tags=["remove-input", "remove-output"]
glue("asr_plain", sentences.in_plain_words(errors, bias, encoder, contrast, found["whose"]))
for name, finding in found.items():
    glue(f"asr_{name}", finding.sentence)
    glue(f"asr_{name}_verdict", where.where_verdict(finding) if name == "where" else finding.verdict)
    glue(f"asr_{name}_criterion", finding.criterion)

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
# - **On another scale.** {glue:text}`asr_scales`
# - **In words instead of characters.** {glue:text}`asr_in_words`
# - **With another probe.** {glue:text}`asr_stronger`
# - **With other differences between the groups held equal.** {glue:text}`asr_adjusted`
# - **By age, within the groups.** {glue:text}`asr_ages`
# - **Between all groups that are recorded.** {glue:text}`asr_contrasts`

# %% [markdown]
# <details class="more"><summary>Does the scale matter?</summary>
#
# A gap can be a difference, a ratio or a log odds ratio of error rates.
# [Chapter 5](05_speaker_identification.ipynb) explains why the three may disagree.

# %% tags=["hide-input"]
glue("asr_scales", sentences.scales_sentence(bias, encoder, contrast), display=False)
display(*charts.three_scales(bias, encoder=encoder, contrast=contrast))

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>What are the errors in words?</summary>
#
# One wrong character makes a whole word wrong, so word error saturates sooner.

# %% tags=["hide-input"]
in_words = everything[everything["unit"] == "word"]
said = "This corpus is written without spaces between words: there are no words to count errors in."
if len(in_words):
    word_errors = findings.mark_saturated(group_errors(in_words, by=group), in_words)
    word_bias = findings.mark_saturated(group_bias(in_words, by=group), in_words)
    said = findings.where_bias_begins(word_bias, encoder, contrast).sentence
    display(charts.error_by_layer(word_errors, encoder=encoder, bias=word_bias, contrast=contrast, counted="words"))
glue("asr_in_words", said, display=False)

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>Does the gap depend on the probe?</summary>
#
# The usual probe has two convolutions and passes a few times over its training speech.
# Trained for longer, it makes fewer errors.
# A recurrent probe makes fewer still, and so does a beam search with a character language model, which knows the
# spelling of the training texts.
# Nothing was tuned on these speakers.
# Stronger probes were trained on one encoder only. The table names it; *untrained twin* means that encoder's own.

# %% tags=["remove-input"]
probed = instrument.measured_with(encoder, corpus)  # this encoder, or one on which stronger probes were trained
glue("asr_stronger", instrument.stronger_sentence(probed, corpus, group), display=False)
caption = "Character probes of one layer, the usual one first, with 95 % intervals over speakers"
charts.show_table(instrument.stronger_table(probed, corpus, group), caption)
longer = "Character probes trained for less and for longer, with 95 % intervals over speakers"
none = "*No longer training is published for these people.*"
charts.show_table(instrument.passes_table(probed, corpus, group), longer, otherwise=none)

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>Do other differences between the groups explain it?</summary>
#
# The gap is estimated again with the length of the text, the speaking rate, the noise of the recording and the other
# recorded columns held equal, by regression.
# The speaking rate is in characters a second. Noise is the ratio of speech to noise in decibels, estimated from the pauses.
# What was not recorded cannot be adjusted for, and what is part of being in a group should not be.

# %% tags=["hide-input"]
own = outcomes[outcomes["encoder"] == encoder].assign(rate=lambda table: table["length"] / table["duration_s"])
adjusted = findings.adjusted_for_recorded(own, group, corpus, ["length", "rate"])
glue("asr_adjusted", sentences.adjusted_sentence(adjusted, contrast), display=False)
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
glue("asr_ages", ages.ages_sentence(slopes), display=False)
if len(slopes):
    by_age = ages.ages_table(slopes, ages.by_age_band(own, group))
    display(charts.table(by_age, "Log odds ratios of error by age, within each group"))
charts.show_table(ages.intersections_table(own, group), "Every pair of groups, from the lowest error to the highest")

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>Which other groups does the corpus record?</summary>
#
# The same rule, applied to every column with enough speakers.
# Each verdict is adjusted for all layers and contrasts of its own column, but not for the number of columns.

# %% tags=["remove-input"]
every = findings.all_contrasts(findings.every_column(own), encoder)
glue("asr_contrasts", sentences.contrasts_sentence(every), display=False)
charts.table(every, f"Every contrast for {words.encoder_label(encoder)}")

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>Which kind of error?</summary>
#
# Two groups can have the same error rate and still fail in different ways: characters left out (deletions), replaced
# (substitutions) or added (insertions).

# %% tags=["hide-input"]
who = " and ".join(words.sides(group, contrast))
caption = f"Error rates of {who}, in percent of their characters; below, the difference in points (95 % interval)"
charts.table(ages.kinds_table(own, group, contrast), caption)

# %% [markdown]
# </details>

# %% [markdown]
# ## In phones, frame by frame
#
# A recogniser has to get a whole sentence right, character by character.
# Phone classification is simpler: which *phone* sounds in this fiftieth of a second?
# A linear probe answers it frame by frame, with no neighbouring frames and no spelling, for speakers that it was not
# trained on, as in characters.
# The labels come from a forced aligner and so from a dictionary of how American adults pronounce English.

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
    phone_found = where.where_and_whose(phones, phone_bias, group, encoder, contrast)
    phone_plain = sentences.in_plain_words(phone_errors, phone_bias, encoder, contrast, phone_found["whose"])
    title = sentences.gap_title(phone_bias, encoder, contrast, counted="phones")
    shown = phone_bias[phone_bias["encoder"].isin(names)]
    display(charts.bias_by_layer(shown, encoder=encoder, contrast=contrast, title=title))
else:
    phones = None
    why = in_phones.refused.get("phone", "too few people of some group have phones.")
    phone_found = {name: findings.refused(name, why) for name in found}
    phone_plain = phone_found["begins"].sentence
    display(Markdown(words.plain(phone_plain)))

# %% [markdown]
# - **Does the gap differ between layers?** *{glue:text}`phone_where_verdict`.* {glue:text}`phone_where`
# - **Is there a gap from the first layers on?** *{glue:text}`phone_begins_verdict`.* {glue:text}`phone_begins`
# - **Does it come from the encoder?** *{glue:text}`phone_whose_verdict`.* {glue:text}`phone_whose`
#
# Where characters and phones disagree, neither is wrong.
# Characters count what a small recogniser makes of whole sentences; phones count what each moment of sound reveals.
# Also, the two groups do not read the same texts: shorter and plainer sentences hold phones that are easier to classify.
#
# <details class="more"><summary>Phone error at every layer, and of log-mel with more and more context</summary>
#
# Context alone makes phones easier, so each layer is compared with the log-mel that hears as much of the utterance as it
# does. A block, which hears all of it, is compared with the widest.

# %% tags=["hide-input"]
if phones is not None:
    ladder = findings.ladder_table(phones, phone_bias, contrast)
    display(charts.table(ladder, "Phone classification from log-mel with more and more context, with 95 % intervals"))
    display(charts.error_by_layer(phone_errors, encoder=encoder, bias=phone_bias, contrast=contrast, counted="phones"))

# %% tags=["remove-input"]
if phones is not None:
    display(Markdown(words.bullets(sentences.layer_sentences(phone_errors, phone_bias, encoder, contrast))))

# %% [markdown]
# </details>

# %% tags=["remove-input", "remove-output"]
glue("phone_plain", phone_plain)
for name, finding in phone_found.items():
    glue(f"phone_{name}", finding.sentence)
    glue(f"phone_{name}_verdict", where.where_verdict(finding) if name == "where" else finding.verdict)

# %% tags=["hide-input"]
if phones is not None:
    own = phones[phones["encoder"] == encoder]
    adjusted = findings.adjusted_for_recorded(own, group, corpus, ["duration_s"])
    slopes = ages.age_slopes(own, group)
    best = findings.mean_error(own).set_index("layer")["error"].idxmin()
    missing = unaligned.unaligned_table(own[own["layer"] == best], outcomes[outcomes["encoder"] == encoder], group)
    answers = {
        "Other differences between the groups": sentences.adjusted_sentence(adjusted, contrast),
        "Age within the groups": ages.ages_sentence(slopes) if len(slopes) else "",
        "Texts that the aligner could not place": unaligned.unaligned_sentence(missing, group, contrast, encoder, best),
    }
    display(Markdown(words.bullets([(asking, answer) for asking, answer in answers.items() if answer])))

# %% [markdown]
# <details class="more"><summary>Adjusted gaps, and gaps by age</summary>
#
# Held equal are the length of the utterance, its noise and the other recorded columns.

# %% tags=["remove-input"]
if phones is not None:
    caption = "Raw and adjusted gaps in phones at every layer, with 95 % intervals"
    display(charts.table(findings.adjusted_table(adjusted, contrast), caption))
    if len(slopes):
        by_age = ages.ages_table(slopes, ages.by_age_band(own, group))
        display(charts.table(by_age, "Log odds ratios of phone error by age, within each group"))

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>Is it the layer, or the probe? Other phone probes</summary>
#
# The table shows those that were trained on these layers.
# One probe has a *hidden* layer and may read what a linear one cannot.
# One is trained on *equal shares* of speech from every group of sex and age.
# One has a *control task* {cite}`hewitt2019` with nothing to hear and only names to memorise: every phone between its
# neighbours has been given another name at random.
# The further the probe's own error lies below that, the more it says about the layer and not about the probe.

# %% tags=["hide-input"]
kinds = robustness.other_phone_probes(names, corpus)
if len(kinds) > 1:
    display(charts.table(views.controls_table(kinds), "Phone probes of the same layers"))
else:
    display(Markdown(f"*No such probe of {words.encoder_label(encoder)} is published for {corpus}.*"))

# %% [markdown]
# </details>

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
# Which layers are saturated: more than six of ten characters wrong, over all speakers? Ask the same of words.
# If you struck these layers out, which answers would be left?
# :::
#
# :::{solution-start} recognition-look
# :class: dropdown
# :::
#
# The code lists them.
# Where the first layers are among them, "from the first layers on" cannot be judged in this unit at all.
# That is a reason for another unit or another probe, not for another verdict.

# %% tags=["solution"]
import fairlib
from fairlib.findings import SATURATED

outcomes = fairlib.probe_characters(encoder, corpus, probe, seeds=seeds)
table = outcomes.groupby(["layer", "unit"], sort=False)[["errors", "length"]].sum()
error = (table["errors"] / table["length"]).unstack("unit").loc[fairlib.layer_order(outcomes["layer"])]
error.join(error > SATURATED, rsuffix=": saturated").round(2)

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Try
# :label: recognition-try
# Ask the same of every column that the corpus records.
# At which layers does the interval exclude zero, and is log-mel's gap on the same side?
# :::
#
# :::{solution-start} recognition-try
# :class: dropdown
# :::
#
# `fairlib.group_columns` names what can be compared here.
# The table gives the widest view of one encoder; remember that each further column is one more chance to find something.

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
# A wrong character is a substitution, a deletion or an insertion.
# Take the layer with the lowest error and split each group's error rate into the three.
# Of which kind are the extra errors of the group with the higher error rate?
# :::
#
# :::{solution-start} recognition-build
# :class: dropdown
# :::
#
# Many deletions can mean that speech is faint or too quick for the probe; many insertions, that it is slow or broken up;
# many substitutions, that one sound resembles another.
# The split says where to listen next. It does not say why.

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
# The same layers have now been probed for two tasks.
# The paper that asked this book's question says that their gaps run opposite ways: smallest where speakers are
# identified best, largest where speech is recognised best.
# Is that so, or would the metric show it in any case? [The next chapter](07_opposite_patterns.ipynb) tests it.
#
# ## Provenance

# %% tags=["remove-input"]
judged = {"Characters": found, "Phones": phone_found}
named = [replace(one, claim=f"{unit}: {one.claim}") for unit, mine in judged.items() for one in mine.values()]
provenance_box([*asked.runs, *in_phones.runs], parameters, "speech-recognition", findings=named)
