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
encoder = "mini-hubert"  # any encoder that fairlib.load_encoder knows
corpus = "speechocean762"  # any corpus that fairlib.load_corpus knows
group = "age_group"  # a column of the corpus that describes its speakers
seeds = 1  # probes trained per layer, each from another seed
probe = "context"  # "linear", or "context": a small head that sees neighbouring frames
force = False  # compute the encoder's outcomes again, even where they are stored or published

# %% tags=["hide-input"]
from dataclasses import replace

import pandas as pd
from IPython.display import HTML, Markdown, display
from myst_nb import glue

import fairlib
from fairlib import findings
from fairlib.bias import FEWEST_SHOWN, group_bias, group_columns, group_errors, only_groups
from fairlib.bias.adjustment import adjusted_gaps
from fairlib.book.provenance import provenance_box, rerun
from fairlib.corpora.recordings import recording_noise
from fairlib.display import charts, sentences, words
from fairlib.display.links import explorer_link
from fairlib.findings import ages, mean_error, questions
from fairlib.findings.instrument import measured_with, passes_table, stronger_sentence, stronger_table
from fairlib.findings.robustness import phone_probes
from fairlib.findings.unaligned import unaligned_sentence, unaligned_table
from fairlib.findings.views import controls_table
from fairlib.findings.where import WHERE_CLAIM, WHERE_CRITERION, do_layers_differ, where_verdict

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

# %% tags=["remove-input"]
charts.error_by_layer(
    errors,
    encoder=encoder,
    title=sentences.errors_title(bias, encoder, contrast),
    description=sentences.describe_errors(errors, encoder),
)

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

# %% tags=["remove-input", "remove-output"]
glue("asr_plain", sentences.in_plain_words(errors, bias, encoder, contrast, whose))
for name, finding in {"where": where, "begins": begins, "whose": whose}.items():
    glue(f"asr_{name}", finding.sentence)
    glue(f"asr_{name}_verdict", where_verdict(finding) if name == "where" else finding.verdict)
    glue(f"asr_{name}_criterion", finding.criterion)

# %% tags=["remove-input"]
lines = sentences.layer_sentences(errors, bias, encoder, contrast)
lines.append(sentences.best_layer_sentence(outcomes, encoder))
if lines:
    display(Markdown(words.bullets(lines)))

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
for chart in charts.three_scales(
    bias,
    contrast=contrast,
    titles=sentences.scale_titles(bias, encoder, contrast),
    description=sentences.describe_gaps(bias, encoder, contrast),
):
    display(chart)

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>What are the errors in words?</summary>
#
# One wrong character makes a whole word wrong, so word error saturates sooner.

# %% tags=["hide-input"]
in_words = everything[everything["unit"] == "word"]
said, of_words = "This corpus is written without spaces between words: there are no words to count errors in.", None
if len(in_words):
    word_errors = findings.mark_saturated(group_errors(in_words, by=group), in_words)
    word_bias = findings.mark_saturated(group_bias(in_words, by=group), in_words)
    said = findings.where_bias_begins(word_bias, encoder, contrast).sentence
    of_words = charts.error_by_layer(
        word_errors,
        encoder=encoder,
        title=sentences.errors_title(word_bias, encoder, contrast) + ", counted in words",
        description=sentences.describe_errors(word_errors, encoder),
    )
glue("asr_in_words", said, display=False)
if of_words is not None:
    display(of_words)

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

# %% tags=["remove-input"]
probed = measured_with(encoder, corpus)  # this encoder, or one on which stronger probes were trained
glue("asr_stronger", stronger_sentence(probed, corpus, group), display=False)
stronger = stronger_table(probed, corpus, group)
if len(stronger):
    display(
        charts.table(stronger, "Character probes of one layer, the usual one first, with 95 % intervals over speakers")
    )
longer = passes_table(probed, corpus, group)
if len(longer):
    display(charts.table(longer, "Character probes trained for less and for longer, with 95 % intervals over speakers"))
else:
    display(Markdown("*No longer training is published for these people.*"))

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
own = outcomes[outcomes["encoder"] == encoder]
measured = own.assign(rate=own["length"] / own["duration_s"], snr_db=own["utterance_id"].map(recording_noise(corpus)))
covariates = ["length", "rate", "snr_db"] + [column for column in group_columns(own, FEWEST_SHOWN) if column != group]
adjusted = adjusted_gaps(measured, by=group, covariates=covariates)
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
glue("asr_ages", ages.ages_sentence(slopes) if len(slopes) else "The corpus does not record ages.", display=False)
if len(slopes):
    by_age = ages.ages_table(slopes, ages.by_age_band(own, group))
    display(charts.table(by_age, "Log odds ratios of error by age, within each group"))
crossed = ages.intersections_table(own, group)
if len(crossed):
    display(charts.table(crossed, "Every pair of groups, from the lowest error to the highest"))

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
charts.table(
    ages.kinds_table(own, group, contrast),
    f"Error rates of {who}, in percent of their characters; below, the difference in points (95 % interval)",
)

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

# %% [markdown]
# </details>

# %% tags=["remove-input", "remove-output"]
phone_plain = phone_begins.sentence
if phones is not None:
    phone_plain = sentences.in_plain_words(phone_errors, phone_bias, encoder, contrast, phone_whose)
glue("phone_plain", phone_plain)
for name, finding in {"where": phone_where, "begins": phone_begins, "whose": phone_whose}.items():
    glue(f"phone_{name}", finding.sentence)
    glue(f"phone_{name}_verdict", where_verdict(finding) if name == "where" else finding.verdict)

# %% tags=["hide-input"]
by_age, phone_adjusted = None, None
if phones is not None:
    own = phones[phones["encoder"] == encoder]
    own = own.assign(snr_db=own["utterance_id"].map(recording_noise(corpus)))
    covariates = ["duration_s", "snr_db"] + [column for column in group_columns(own, FEWEST_SHOWN) if column != group]
    phone_adjusted = adjusted_gaps(own, by=group, covariates=covariates)
    slopes = ages.age_slopes(own, group)
    best = mean_error(own).set_index("layer")["error"].idxmin()
    missing = unaligned_table(own[own["layer"] == best], outcomes[outcomes["encoder"] == encoder], group)
    answers = [
        ("Other differences between the groups", sentences.adjusted_sentence(phone_adjusted, contrast)),
        ("Texts that the aligner could not place", unaligned_sentence(missing, group, contrast, encoder, best)),
    ]
    if len(slopes):
        answers.insert(1, ("Age within the groups", ages.ages_sentence(slopes)))
        by_age = charts.table(
            ages.ages_table(slopes, ages.by_age_band(own, group)),
            "Log odds ratios of phone error by age, within each group",
        )
    display(Markdown(words.bullets(answers)))

# %% [markdown]
# <details class="more"><summary>Adjusted gaps, and gaps by age</summary>
#
# Held equal are the length of the utterance, its noise and the other recorded columns.

# %% tags=["remove-input"]
if phone_adjusted is not None:
    display(
        charts.table(
            findings.adjusted_table(phone_adjusted, contrast),
            "Raw and adjusted gaps in phones at every layer, with 95 % intervals",
        )
    )
if by_age is not None:
    display(by_age)

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>Is it the layer, or the probe? Four phone probes</summary>
#
# One probe has a *hidden* layer and may read what a linear one cannot.
# One is trained on *equal shares* of speech from every group of sex and age.
# One has a *control task* {cite}`hewitt2019` with nothing to hear and only names to memorise: every phone between its
# neighbours has been given another name at random.
# The further the probe's own error lies below that, the more it says about the layer and not about the probe.

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
judged = {"Characters": (where, begins, whose), "Phones": (phone_where, phone_begins, phone_whose)}
named = [replace(finding, claim=f"{unit}: {finding.claim}") for unit, found in judged.items() for finding in found]
provenance_box([*asked.runs, *in_phones.runs], parameters, "speech-recognition", findings=named)
