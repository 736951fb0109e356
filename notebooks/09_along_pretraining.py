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
# # When: bias along pretraining
#
# An {term}`encoder` begins as random numbers and then hears hours of speech.
# **When does the {term}`gap` between groups of speakers open? Would it be smaller had the encoder been trained on the
# speakers it serves worse, were the encoder larger, or had it heard more?**

# %% tags=["remove-cell"]
import fairlib  # not found? In a clone: pip install -c constraints.txt -e ".[book]", then restart the kernel

# %% tags=["parameters", "hide-input"]
encoder = "mini-hubert-long"  # any encoder; where its pretraining was not followed, its untrained twin is the beginning
counterpart = "pocket-hubert-children"  # a second training on other speech, of ours; or of your encoder
corpus = "speechocean762"  # any transcribed corpus that fairlib.load_corpus knows
group = "age_group"  # a column of the corpus that describes its speakers
seeds = 5  # speaker probes trained per layer; the phone probe is trained once
force = False  # compute the encoder's outcomes again, even where they are stored or published

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import Markdown, display
from myst_nb import glue

import fairlib
from fairlib import findings
from fairlib.base.tasks import TASKS
from fairlib.bias import group_bias, only_groups
from fairlib.book.provenance import provenance_box, rerun
from fairlib.display import charts, sentences, trajectories, words
from fairlib.findings import exchanged, pretraining, questions, scaling
from fairlib.findings.views import identify_or_verify

charts.use_book_renderer()

probes = {
    "sid": lambda name: identify_or_verify(name, corpus, group, seeds, force and name == encoder, pretraining.EARLY),
    "phone": lambda name: fairlib.probe_phones(name, corpus, force=force and name == encoder),
}
asked = questions.ask(
    {
        task: lambda ask=ask: [*pretraining.outcomes_along(encoder, ask).values(), ask("logmel")]
        for task, ask in probes.items()
    },
    by=group,
).or_stop()
contrast, runs = asked.contrast, list(asked.runs)
maps, changes, signal, opens = {}, {}, {}, {}
for task, rows in asked.outcomes.items():
    steps = pretraining.by_step(rows, encoder)
    maps[task] = pretraining.map_along(steps, group, contrast)
    changes[task] = pretraining.since_the_start(steps, group)
    signal[task] = findings.gaps(group_bias(rows[rows["encoder"] == "logmel"], by=group), "logmel", contrast).iloc[0]
    opens[task] = pretraining.when_it_opens(maps[task], changes[task], encoder, contrast, signal[task])
found = {f"{task}_when": findings.of_task(task, finding) for task, finding in opens.items()}
for task, why in asked.refused.items():
    found[f"{task}_when"] = findings.of_task(task, findings.refused("when", why))
    found[f"{task}_cause"] = findings.of_task(task, findings.refused("cause", why))
if asked.said:
    display(Markdown(words.bullets(asked.said)))

# %% tags=["remove-input"]
for task, table in maps.items():
    display(trajectories.gap_map(task, table, encoder, contrast, signal[task]))

# %% [markdown]
# *How to read it.* Training goes from left to right, layers from top to bottom.
# Blue: the group named first makes fewer errors. Orange: it makes more. The stronger the colour, the larger the gap.
#
# **Does the gap open in pretraining?**
#
# - **Speaker identification:** *{glue:text}`sid_when_verdict`.* {glue:text}`sid_when`
# - **Phone classification:** *{glue:text}`phone_when_verdict`.* {glue:text}`phone_when`
#
# **Is it smaller if the encoder has heard such speakers?** Asked of {glue:text}`compared`, which was trained twice.
#
# - **Speaker identification:** *{glue:text}`sid_cause_verdict`.* {glue:text}`sid_cause`
# - **Phone classification:** *{glue:text}`phone_cause_verdict`.* {glue:text}`phone_cause`
#
# **Is it smaller in a better encoder?**
#
# - **Speaker identification:** in a larger one, *{glue:text}`sid_size_verdict`*; in one that heard more,
#   *{glue:text}`sid_hours_verdict`*.
# - **Phone classification:** in a larger one, *{glue:text}`phone_size_verdict`*; in one that heard more,
#   *{glue:text}`phone_hours_verdict`*.
#
# <details class="more"><summary>The rules behind these verdicts</summary>
#
# - *When does it open?* {glue:text}`when_criterion`
# - *Does hearing help?* {glue:text}`cause_criterion`
# - *Does size help?* {glue:text}`size_criterion`
# - *Do more hours help?* {glue:text}`hours_criterion`
#
# </details>

# %% [markdown]
# ## How it was measured
#
# We kept an encoder's weights several times during its training.
# Each of these steps is probed like a finished encoder, on the same people with the same {term}`probes <probe>`, so any
# change from one step to the next comes from the encoder.
# The first step has heard nothing: its weights are those that training started from.
#
# Here the speaker probe stops after 20 steps of its own training, so errors and gaps differ a little from those of
# [chapter 5](05_speaker_identification.ipynb), whose probe is trained to its optimum.

# %% [markdown]
# <details class="more"><summary>The error rates on the same maps</summary>

# %% tags=["hide-input"]
for task, table in maps.items():
    display(trajectories.error_map(task, table, encoder))

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>Three layers with their intervals</summary>
#
# The output of the convolutions, the layer that is best at the end, and the last layer.

# %% tags=["hide-input"]
for task, table in maps.items():
    display(trajectories.three_layers(task, table, changes[task], encoder, contrast))

# %% tags=["remove-input"]
opening = trajectories.opening_table(opens, changes, encoder, contrast)
charts.table(opening, "The gap's log odds ratio before and after pretraining, with 95 % intervals")

# %% [markdown]
# </details>

# %% [markdown]
# ## Other encoders
#
# One training may be an accident.
# Here are other encoders that were measured along their training, each at the layer that is best at the end, and judged
# by the same rule.
# A *second seed* is the same training again, from other random numbers.
# The convolutions of wav2vec 2.0 began as those of the first HuBERT, whose hours are counted too. Its untrained twin stands
# for the beginning, and nothing was measured between the two.
# mini-hubert-long and mini-wavlm-long began with the same weights, as their shape and their seed are the same.

# %% tags=["hide-input"]
told = []
for task in asked.outcomes:
    families = {}
    for name, mine in pretraining.published_along(corpus, task).items():
        mine = {step: only_groups(table, group, asked.groups) for step, table in mine.items()}
        families[name] = pretraining.map_along(mine, group, contrast)
        if name != encoder:
            since = pretraining.since_the_start(mine, group)
            opened = pretraining.when_it_opens(families[name], since, name, contrast)
            told.append((f"{TASKS[task].heading}, {opened.verdict}", opened.sentence))
    if len(families) > 1:
        display(trajectories.families(task, families, contrast))
if not told:
    display(Markdown("Of no other encoder outcomes along its training are published on this corpus."))

# %% [markdown]
# <details class="more"><summary>The verdict on each encoder</summary>

# %% tags=["remove-input"]
Markdown(words.bullets(told))

# %% [markdown]
# </details>

# %% [markdown]
# ## Would it be smaller, had the encoder heard such people?
#
# Watching a training shows when, not why.
# So we trained {glue:text}`compared` twice, with the same architecture, seed, number of steps and hours of speech.
# In the second training, part of the speech was exchanged for speech of the corpus that we test on:
# {glue:text}`exchanged`.
# People whom that encoder has heard are left out here, so all test speakers are new to both.
# Where both were trained again from another seed, that pair stands beside the first, and so does the effect of the seed
# alone.

# %% tags=["hide-input"]
compared = exchanged.compared_with(counterpart, encoder)
cause_probes = probes | {"asr": lambda name: fairlib.probe_characters(name, corpus).query("unit == 'char'")}
effects = {}
for task, ask in cause_probes.items():
    if task in asked.refused:
        continue
    tables = exchanged.at_hand(compared, counterpart, ask)
    lacking = [name for name in (compared, counterpart) if name not in tables]
    if lacking:
        display(Markdown(f"*{exchanged.lacking_sentence(task, lacking)}*"))
        found[f"{task}_cause"] = pretraining.unknown(counterpart)
        continue
    runs += tables.values()
    effect = exchanged.effect_of(tables, compared, counterpart, corpus, group, contrast, asked.groups)
    found[f"{task}_cause"] = findings.of_task(task, effect.finding)
    if len(effect.bias):
        effects[task] = effect
helped = [charts.gaps_of_task(task, effect.bias, contrast, counterpart, compared) for task, effect in effects.items()]
display(*helped[:1])

# %% [markdown]
# <details class="more"><summary>The other tasks, and the change at every layer</summary>

# %% tags=["remove-input"]
display(*helped[1:])
changed = exchanged.changes_table(effects, contrast)
charts.table(changed, "How much the gap's log odds ratio changes, in pairs, with Holm's p and 95 % intervals")

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>The same exchange in another encoder</summary>
#
# What is published of other pairs of our encoders that differ in this exchange alone, judged by the same rule.
# Where no probe was stopped early, speakers are identified as in [chapter 5](05_speaker_identification.ipynb).

# %% tags=["remove-input"]
again = []
for name, other in exchanged.exchanged_pairs(corpus):
    for task in cause_probes if name != compared else ():
        effect = exchanged.published_effect(name, other, task, corpus, group, contrast, asked.groups)
        if effect is not None:
            again.append((f"{TASKS[task].heading}, {effect.verdict}", effect.sentence))
Markdown(words.bullets(again) or "Of no other such pair outcomes are published on this corpus.")

# %% [markdown]
# </details>

# %% [markdown]
# ## Does a better encoder close the gap?
#
# Encoders that are larger, or that have heard more, usually make fewer errors. Do they also serve the groups more equally?
# We trained one recipe at several sizes: only the blocks' width differs. And we trained the encoder in the middle once
# more, for nearly four times as many steps: it heard the same speech, more often, and is the one that this book is about.
# So we did with mini-wavlm, an encoder of another family.
# Everything else is the same, seed and number of layers included, so layers can be compared one by one.
# The two smaller sizes were trained again from another seed; there, a difference counts only if both pairs show it.

# %% tags=["hide-input"]
scaled, ladders = [], {}
for rule in scaling.DIFFER:
    for task in probes:
        steps = {}
        for names in scaling.ladders(rule) if task in asked.outcomes else ():
            every = scaling.published_of(names, task, corpus, group, asked.groups)
            up = scaling.up_the_ladder(rule, every, names, group, contrast)
            steps |= up
            if up:
                ladders.setdefault((rule, task), []).append((every, names[0], list(up)[-1]))
                scaled.append(scaling.errors_sentence(rule, task, every, names))
            for more, step in up.items():
                found[f"{task}_{rule}_{more}"] = findings.of_task(task, step)
                scaled.append((scaling.step_named(task, step), step.sentence))
        glue(f"{task}_{rule}_verdict", scaling.ladder_verdict(rule, steps), display=False)
Markdown(words.bullets(scaled) or "Of encoders that differ in scale alone no outcomes are published on this corpus.")

# %% [markdown]
# <details class="more"><summary>Error and gap of each</summary>
#
# Each encoder is compared with the next larger one, or with the one that heard more.
# Three small sizes are a beginning: larger ones may do otherwise, and all of them heard the same few hours of speech again
# and again.
# The first seed of the encoder in the middle was trained on a graphics card, all others on processors, whose arithmetic
# differs a little.
# All were trained at one learning rate, which need not suit every size and every length equally well, and the largest and
# those that heard most from one seed alone.
# The weights of the largest do not ship with the book, for their size; the command in its card makes them.

# %% tags=["remove-input"]
for (rule, task), of_rule in ladders.items():
    every = pd.concat([outcomes for outcomes, _, _ in of_rule], ignore_index=True)
    bias = group_bias(every, by=group)
    for _, least, most in of_rule[:1] if task in list(asked.outcomes)[:1] else ():
        display(charts.gaps_of_task(task, bias, contrast, most, least))
    display(charts.captioned(f"by_{rule}", scaling.scaling_table(every, bias, contrast), heading=TASKS[task].heading))

# %% [markdown]
# </details>

# %% tags=["remove-input", "remove-output"]
for name, finding in found.items():
    glue(name, finding.sentence)
    glue(f"{name}_verdict", finding.verdict)
glue("when_criterion", pretraining.WHEN_CRITERION)
glue("cause_criterion", pretraining.CAUSE_CRITERION)
for rule, criterion in scaling.CRITERIA.items():
    glue(f"{rule}_criterion", criterion)
glue("compared", words.encoder_label(compared))
glue("exchanged", pretraining.what_was_exchanged(compared, counterpart))

# %% [markdown]
# ## What could be wrong
#
# - **One training each.** Two trainings that differ only in their seed also differ in their gaps. Where a second seed is
#   published, its effect stands beside that of the speech; a third might show something else.
# - **Both groups were heard.** The exchanged speech is of both groups. If both improve equally, the gap stays, although
#   everybody is served better.
# - **Few hours.** A small encoder that hears so little may be unable to learn about everyone. More speech of the same people
#   might still help.
# - **Where everything is wrong, no gap can show.** With random weights, hardly any phone is classified correctly.
#   A gap that appears while errors fall may have been hidden by them.
# - **The beginning is not nothing.** Random weights pass on much of the sound, and its gaps with it. A gap that is there
#   before training comes from the signal or from the shape of the network.

# %% [markdown]
# <details class="more"><summary>Limits of these data, groups and encoders</summary>

# %% tags=["remove-input"]
Markdown(sentences.cautions("phone", encoder, corpus, group))

# %% [markdown]
# </details>

# %% [markdown]
# ## Rerun it
#
# The command that made this page; put another encoder, corpus or group in its place:

# %% tags=["remove-input"]
parameters = dict(encoder=encoder, counterpart=counterpart, corpus=corpus, group=group, seeds=seeds, force=force)
rerun("along-pretraining", parameters)

# %% [markdown]
# ## Exercises
#
# :::{exercise} Look
# :label: along-look
# Cover the first column of the first map: which layers would you now say that pretraining made unfair?
# Uncover it: at which of them was the gap as large before the encoder had heard a single word?
# :::
#
# :::{solution-start} along-look
# :class: dropdown
# :::
#
# Without the column for random weights, the whole gap seems to have been learnt.
# The starting point is to training what a control is to an experiment, and it costs one more column.

# %% tags=["solution"]
import fairlib
from fairlib.findings import main_contrast, pretraining

steps = pretraining.outcomes_along(encoder, lambda name: fairlib.probe(name, pretraining.EARLY, corpus))
contrast = main_contrast(fairlib.group_bias(steps[max(steps)], by=group, permutations=50), encoder)
table = pretraining.map_along(steps, group, contrast)
wide = table[table["step"].isin([min(steps), max(steps)])].pivot(index="layer", columns="step", values="estimate")
wide.loc[fairlib.layer_order(wide.index)].set_axis(["before training", "after"], axis=1).round(2)

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Try
# :label: along-try
# Which group did training help more?
# Take the layer that is best at the end, and compare each group's error before and after: once in points, once as a share
# of the error before.
# Do the two agree on who gained more?
# :::
#
# :::{solution-start} along-try
# :class: dropdown
# :::
#
# They agree where one group gains more in points and as a share.
# They need not: a group with more errors at the start can gain more points and still a smaller share.
# Arithmetic cannot say which of the two is fair.

# %% tags=["solution"]
import fairlib
from fairlib.findings import pretraining

steps = pretraining.outcomes_along(encoder, lambda name: fairlib.probe_phones(name, corpus))
best = pretraining.best_layer(steps[max(steps)], encoder)
errors = {}
for when, step in {"before": min(steps), "after": max(steps)}.items():
    mine = steps[step][steps[step]["layer"] == best]
    errors[when] = fairlib.group_errors(mine, by=group, resamples=200).set_index("group")["error"]
before, after = errors["before"], errors["after"]
table = before.to_frame("before").assign(after=after, points=100 * (before - after), share=1 - after / before)
print(f"layer {best}")
table.round(3)

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Build
# :label: along-build
# The chapter tests how much a gap changed between two encoders by resampling people.
# Test it in another way: if what the encoders heard did not matter, their names could be swapped for any person.
# Swap them at random many times, and count how often the gap then changes by as much as it did.
# :::
#
# :::{solution-start} along-build
# :class: dropdown
# :::
#
# This is a paired permutation test: each person keeps both error rates, and only the encoder they belong to is drawn.
# Its p should agree with the interval of the chapter; where they disagree, there are few people.

# %% tags=["solution"]
import numpy as np

import fairlib
from fairlib.findings import exchanged, pretraining

compared = exchanged.compared_with(counterpart, encoder)
pair = [fairlib.probe(name, pretraining.EARLY, corpus) for name in (compared, counterpart)]
best = pretraining.best_layer(pair[0], compared)
sums = [table[table["layer"] == best].groupby(["speaker_id", group])[["errors", "length"]].sum() for table in pair]
rates = np.stack([(table["errors"] / table["length"]).to_numpy() for table in sums])
groups = sums[0].index.get_level_values(group)
side = groups == groups[0]


def gap(rate):
    return rate[side].mean() - rate[~side].mean()


moved = gap(rates[1]) - gap(rates[0])
rng = np.random.default_rng(0)
drawn = []
for _ in range(2000):
    swap = rng.random(len(side)) < 0.5
    one, other = np.where(swap, rates[::-1], rates)
    drawn.append(gap(other) - gap(one))
p = (1 + (np.abs(drawn) >= abs(moved)).sum()) / (1 + len(drawn))
print(f"layer {best}: the difference of the groups' errors changes by {100 * moved:+.1f} points, p = {p:.3f}")

# %% [markdown]
# :::{solution-end}
# :::
#
# ## The next question
#
# Now we know where a gap is and when it came. *Why* is it there?
# Does the speech of one group vary more, or does it lie where a probe that was trained mostly on others does not look?
# [The next chapter](10_why.ipynb) trains probes on one group at a time.
#
# ## Provenance

# %% tags=["remove-input"]
provenance_box(runs, parameters, chapter="along-pretraining", findings=list(found.values()))
