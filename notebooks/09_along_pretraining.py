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
# speakers it serves worse, or were the encoder larger?**

# %% tags=["remove-cell"]
import fairlib  # not found? In a clone: pip install -c constraints.txt -e ".[book]", then restart the kernel

# %% tags=["parameters", "hide-input"]
encoder = "pocket-hubert"  # an encoder whose pretraining was followed; of others, only its untrained twin is known
counterpart = "pocket-hubert-children"  # the same encoder, pretrained on other speech
corpus = "speechocean762"  # any transcribed corpus that fairlib.load_corpus knows
group = "age_group"  # a column of the corpus that describes its speakers
seeds = 5  # speaker probes trained per layer; the phone probe is trained once
force = False  # compute the encoder's outcomes again, even where they are stored or published

# %% tags=["hide-input"]
import itertools
from dataclasses import replace

import pandas as pd
from IPython.display import Markdown, display
from myst_nb import glue

import fairlib
from fairlib import encoders, findings
from fairlib.base.tasks import TASKS
from fairlib.bias import BiasError, group_bias, only_groups
from fairlib.book.provenance import provenance_box, rerun
from fairlib.display import charts, sentences, trajectories, words
from fairlib.findings import pretraining, questions, sizes
from fairlib.findings.cells import Cell, Number
from fairlib.findings.exchanged import exchanged_pairs, published_effect
from fairlib.findings.survey import strangers
from fairlib.findings.views import identify_or_verify

charts.use_book_renderer()

probes = {
    "sid": lambda name: identify_or_verify(name, corpus, group, seeds, force and name == encoder, pretraining.EARLY),
    "phone": lambda name: fairlib.probe_phones(name, corpus, force=force and name == encoder),
}
everything = {}
asked = questions.ask(
    {
        task: lambda task=task: [
            *everything.setdefault(task, pretraining.outcomes_along(encoder, probes[task])).values(),
            probes[task]("logmel"),
        ]
        for task in probes
    },
    by=group,
).or_stop()
contrast, runs = asked.contrast, list(asked.runs)
outcomes, maps, changes, signal, found = {}, {}, {}, {}, {}
for task, rows in asked.outcomes.items():
    outcomes[task] = {step: only_groups(table, group, asked.groups) for step, table in everything[task].items()}
    maps[task] = pretraining.map_along(outcomes[task], group, contrast)
    changes[task] = pretraining.since_the_start(outcomes[task], group)
    mel = rows[rows["encoder"] == "logmel"]
    signal[task] = findings.gaps(group_bias(mel, by=group), "logmel", contrast).iloc[0]
    opens = pretraining.when_it_opens(maps[task], changes[task], encoder, contrast, signal[task])
    found[f"{task}_when"] = replace(opens, claim=f"{TASKS[task].heading}: {opens.claim}")
for task, why in asked.refused.items():
    found[f"{task}_when"] = findings.not_asked(
        f"{TASKS[task].heading}: {pretraining.WHEN_CLAIM}", pretraining.WHEN_CRITERION, why
    )
steps = sorted(next(iter(outcomes.values())))
hours = pretraining.hours_at(encoder, steps)
if asked.said:
    display(Markdown(words.bullets(asked.said)))

# %% tags=["remove-input"]
for task, table in maps.items():
    display(trajectories.gap_map(task, table, hours, contrast, signal[task]))

# %% [markdown]
# *How to read it.* Training goes from top to bottom, layers from left to right.
# Blue: the group named first makes fewer errors. Orange: it makes more. The stronger the colour, the larger the gap.
#
# **Does the gap open in pretraining?**
#
# - **Speaker identification:** *{glue:text}`sid_when_verdict`.* {glue:text}`sid_when`
# - **Phone classification:** *{glue:text}`phone_when_verdict`.* {glue:text}`phone_when`
#
# **Is it smaller if the encoder has heard such speakers?**
#
# - **Speaker identification:** *{glue:text}`sid_cause_verdict`.* {glue:text}`sid_cause`
# - **Phone classification:** *{glue:text}`phone_cause_verdict`.* {glue:text}`phone_cause`
#
# <details class="more"><summary>The rules behind these verdicts</summary>
#
# - *When does it open?* {glue:text}`when_criterion`
# - *Does hearing help?* {glue:text}`cause_criterion`
# - *Does size help?* {glue:text}`size_criterion`
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
    display(trajectories.error_map(task, table, hours))

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
rows = [
    row
    for task in outcomes
    for row in trajectories.opening_rows(task, found[f"{task}_when"].evidence, changes[task], contrast, hours)
]
charts.table(pd.DataFrame(rows), "The gap's log odds ratio before and after pretraining, with 95 % intervals")

# %% [markdown]
# </details>

# %% [markdown]
# ## Another family
#
# One training may be an accident.
# Here are encoders of other families that were measured along their training, each at the layer that is best at the end,
# and judged by the same rule.
# A *second seed* is the same training again, from other random numbers.
# The convolutions of wav2vec 2.0 began as those of the first HuBERT, whose hours are counted too. Its untrained twin stands
# for the beginning, and nothing was measured between the two.

# %% tags=["hide-input"]
told = []
for task in probes:
    rows = []
    for name, mine in (pretraining.published_along(corpus, task) if task in outcomes else {}).items():
        mine = {step: only_groups(table, group, asked.groups) for step, table in mine.items()}
        table = pretraining.map_along(mine, group, contrast)
        end = mine[max(mine)]
        layer = pretraining.best_layer(end, end["encoder"].iloc[0])
        at_best = table[table["layer"] == layer]
        label = f"{words.encoder_label(name)}, layer {layer}"
        x = at_best["step"].map(pretraining.hours_heard(name))
        rows.append(at_best.assign(line=label, x=x, value=at_best["estimate"]))
        if name != encoder:
            opens = pretraining.when_it_opens(table, pretraining.since_the_start(mine, group), name, contrast)
            told.append((f"{TASKS[task].heading}, {opens.verdict}", opens.sentence))
    if len(rows) > 1:
        ends = pd.concat(rows).groupby("line", sort=False)["value"].last()
        display(
            charts.curves(
                pd.concat(rows),
                x_title="hours of speech heard in training",
                y_title=f"log odds ratio of error, {contrast}",
                format="+~f",
                reference=(0, "no gap"),
                title=f"{TASKS[task].heading}: the gap ends at "
                + words.listing([f"{words.number(value, 2)} ({line})" for line, value in ends.items()]),
                description="Lines of the gap over hours heard, one for each family, at the layer at which it ends best.",
                notes="Bands: 95 % intervals over speakers.",
            )
        )
if not told:
    display(Markdown("Of no other family outcomes along its training are published on this corpus."))

# %% [markdown]
# <details class="more"><summary>The verdict on each family</summary>

# %% tags=["remove-input"]
Markdown(words.bullets(told))

# %% [markdown]
# </details>

# %% [markdown]
# ## Would it be smaller, had the encoder heard such people?
#
# Watching a training shows when, not why.
# So we trained the encoder twice, with the same architecture, seed, number of steps and hours of speech.
# In the second training, part of the speech was exchanged for speech of the corpus that we test on:
# {glue:text}`exchanged`.
# People whom that encoder has heard are left out here, so all test speakers are new to both.
# Where both were trained again from another seed, that pair stands beside the first, and so does the effect of the seed
# alone.

# %% tags=["hide-input"]
pairs = pretraining.pairs_of(encoder, counterpart)
unheard = strangers(corpus) if corpus in encoders.heard(counterpart) else None  # the half that is tested on transcripts
helped, effects = {}, {}
cause_probes = probes | {"asr": lambda name: fairlib.probe_characters(name, corpus).query("unit == 'char'")}
names = dict.fromkeys(name for pair in pairs.values() for name in (pair.one, pair.other))
for task, ask in cause_probes.items():
    if why := asked.refused.get(task):
        found[f"{task}_cause"] = findings.not_asked(
            f"{TASKS[task].heading}: {pretraining.CAUSE_CLAIM}", pretraining.CAUSE_CRITERION, why
        )
        continue
    tables = {name: table for name in names if (table := pretraining.at_hand(ask, name)) is not None}
    lacking = [words.encoder_label(name) for name in (encoder, counterpart) if name not in tables]
    if lacking:
        display(
            Markdown(
                f"*{TASKS[task].heading}: there are no outcomes of {words.listing(lacking)}, published or computed here.*"
            )
        )
        found[f"{task}_cause"] = pretraining.unknown(counterpart)
        continue
    runs += tables.values()
    paired = {what: pair for what, pair in pairs.items() if {pair.one, pair.other} <= set(tables)}
    kept = pd.concat(tables.values(), ignore_index=True)
    if unheard is not None:
        kept = kept[kept["speaker_id"].isin(unheard)]
    kept = only_groups(kept, group, asked.groups)
    try:
        bias = findings.mark_saturated(group_bias(kept, by=group), kept)
        findings.gaps(bias, encoder, contrast)
    except (BiasError, ValueError):
        why = "too few people of some group are left whom neither encoder has heard."
        found[f"{task}_cause"] = findings.not_asked(
            f"{TASKS[task].heading}: {pretraining.CAUSE_CLAIM}", pretraining.CAUSE_CRITERION, why
        )
        continue
    effects[task] = pretraining.changes_by_speech(kept, group, paired)
    helps = pretraining.does_it_help(bias, effects[task], encoder, contrast, pretraining.best_layer(kept, encoder))
    found[f"{task}_cause"] = replace(helps, claim=f"{TASKS[task].heading}: {helps.claim}")
    helped[task] = charts.bias_by_layer(
        bias,
        contrast=contrast,
        title=f"{TASKS[task].heading}: {sentences.gap_title(bias, counterpart, contrast)}",
        description=sentences.describe_gaps(bias, encoder, contrast),
    )
for task in list(helped)[:1]:
    display(helped[task])

# %% [markdown]
# <details class="more"><summary>The other tasks, and the change at every layer</summary>

# %% tags=["remove-input"]
for task in list(helped)[1:]:
    display(helped[task])
rows = []
for task, table in effects.items():
    table = table[(table["contrast"] == contrast) & (table["scale"] == "log_odds")]
    for layer in fairlib.layer_order(table["layer"].unique()):
        entry = {"task": TASKS[task].title, "layer": layer}
        for row in table[table["layer"] == layer].itertuples():
            moved, low, high = (Number("log odds", value) for value in (row.estimate, row.low, row.high))
            entry[row.pair] = Cell(moved, ", p ", Number("p", row.p_holm), "\n", low, " to ", high)
        rows.append(entry)
charts.table(
    pd.DataFrame(rows).fillna(""),
    "How much the gap's log odds ratio changes, in pairs, with Holm's p and 95 % intervals",
)

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>The same exchange in another encoder</summary>
#
# What is published of other pairs of our encoders that differ in this exchange alone, judged by the same rule.
# Where no probe was stopped early, speakers are identified as in [chapter 5](05_speaker_identification.ipynb).

# %% tags=["remove-input"]
again = []
for name, other in exchanged_pairs(corpus):
    for task in cause_probes if name != encoder else ():
        effect = published_effect(name, other, task, corpus, group, contrast, asked.groups)
        if effect is not None:
            again.append((f"{TASKS[task].heading}, {effect.verdict}", effect.sentence))
Markdown(words.bullets(again) or "Of no other such pair outcomes are published on this corpus.")

# %% [markdown]
# </details>

# %% [markdown]
# ## Does a larger encoder close the gap?
#
# Larger encoders usually make fewer errors. Do they also serve the groups more equally?
# We trained one recipe at several sizes: only the blocks' width differs. Speech, hours, seed and the number of layers are
# the same, so layers can be compared one by one.

# %% tags=["hide-input"]
sized, ladders = [], {}
for names in sizes.ladders():
    for task in outcomes:
        every = sizes.published_of(names, task, corpus, group, asked.groups)
        ladder = [name for name in names if name in set(every.get("encoder", ()))]
        for smaller, larger in itertools.pairwise(ladder):
            if grown := sizes.does_size_help(every, group, contrast, smaller, larger):
                key = f"{task}_size" if f"{task}_size" not in found else f"{task}_size_{larger}"
                found[key] = replace(grown, claim=f"{TASKS[task].heading}: {grown.claim}")
                sized.append((f"{TASKS[task].heading}, {sizes.size_verdict(grown)}", grown.sentence))
        if f"{task}_size" in found:
            bias = group_bias(every, by=group)
            ladders[task] = bias, sizes.sizes_table(every, bias, contrast)
Markdown(words.bullets(sized) or "Of encoders that differ in size alone no outcomes are published on this corpus.")

# %% [markdown]
# <details class="more"><summary>Error and gap of each size</summary>
#
# Two sizes are a beginning: larger ones may do otherwise.
# The larger encoder here was trained on a graphics card, the smaller on a processor, whose arithmetic differs a little.

# %% tags=["remove-input"]
for task, (bias, table) in ladders.items():
    display(
        charts.bias_by_layer(
            bias,
            contrast=contrast,
            title=f"{TASKS[task].heading}: {sentences.gap_title(bias, table['encoder'].iloc[-1], contrast)}",
            description=sentences.describe_gaps(bias, table["encoder"].iloc[0], contrast),
        )
    )
    display(
        charts.table(table.assign(encoder=table["encoder"].map(words.encoder_label)), f"{TASKS[task].heading}, by size")
    )

# %% [markdown]
# </details>

# %% tags=["remove-input", "remove-output"]
for name, finding in found.items():
    glue(name, finding.sentence)
    glue(f"{name}_verdict", sizes.size_verdict(finding) if "_size" in name else finding.verdict)
glue("when_criterion", pretraining.WHEN_CRITERION)
glue("cause_criterion", pretraining.CAUSE_CRITERION)
glue("size_criterion", sizes.CRITERION)
glue("exchanged", pretraining.what_was_exchanged(encoder, counterpart))

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
# Cover the first row of the first map: which layers would you now say that pretraining made unfair?
# Uncover it: at which of them was the gap as large before the encoder had heard a single word?
# :::
#
# :::{solution-start} along-look
# :class: dropdown
# :::
#
# Without the row for random weights, the whole gap seems to have been learnt.
# The starting point is to training what a control is to an experiment, and it costs one more row.

# %% tags=["solution"]
import pandas as pd

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
# A group with more errors at the start can gain more points and still a smaller share.
# Arithmetic shows that the two can disagree. It cannot say which of them is fair.

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
from fairlib.findings import pretraining

pair = [fairlib.probe(name, pretraining.EARLY, corpus) for name in (encoder, counterpart)]
best = pretraining.best_layer(pair[0], encoder)
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
