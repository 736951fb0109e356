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
# # Why: random errors, or a shift?
#
# A probe makes more errors for one group of speakers than for another. **Why?**
#
# - The speech of that group may *vary* more, so that its sounds overlap. No probe can do much about that: it is *random
#   error*.
# - Or it may be *shifted*: as clear as that of the others, but in a place where a probe that was trained mostly on others
#   does not look. That is *systematic error*, and training the probe on the group itself would remove it.
#
# So we train probes on one group, on the other and on both, layer by layer.

# %% tags=["remove-cell"]
import fairlib  # not found? In a clone: pip install -c constraints.txt -e ".[book]", then restart the kernel

# %% tags=["parameters", "hide-input"]
encoder = "mini-hubert-long"  # any encoder that fairlib.load_encoder knows
corpus = "speechocean762"  # any corpus that fairlib.load_corpus knows; phones need English transcripts
group = "age_group"  # a column of the corpus that describes its speakers
between = ""  # two of its groups, as in "child,adult"; left empty, the two with most training speakers
seeds = 5  # draws of the speakers whom the probes are trained on
force = False  # compute the encoder's outcomes again, even where they are stored or published

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import Markdown, display
from myst_nb import glue

import fairlib
from fairlib import findings
from fairlib.base.tasks import TASKS
from fairlib.bias import only_groups
from fairlib.bias.contrasts import contrast_groups
from fairlib.book.provenance import provenance_box, rerun
from fairlib.display import charts, reasons, words
from fairlib.findings import by_phone, erased, questions, training_groups

charts.use_book_renderer()

chosen = [name.strip() for name in between.split(",") if name.strip()]
two = (encoder, "logmel")
controls = {"phone": findings.controls_in_context(encoder), "sid": findings.controls(encoder)}
asked = questions.ask(
    {
        task: lambda task=task: [
            fairlib.train_across_groups(name, corpus, group, chosen, task, seeds, force and name == encoder)
            for name in (encoder, *controls[task])
        ]
        for task in ("phone", "sid")
    },
    by=group,
).or_stop()
contrast = asked.contrast
pair = contrast_groups(contrast)
lead = "phone" if "phone" in asked.outcomes else "sid"
crossed = {task: rows[rows["unit"] == TASKS[task].main[1]] for task, rows in asked.outcomes.items()}
gaps = {task: fairlib.training_group_gaps(rows, by=group) for task, rows in crossed.items()}
alike = dict(gaps)
if "phone" in crossed:  # what remains is judged at one mix of phones and durations
    alike["phone"] = fairlib.training_group_gaps(asked.outcomes["phone"].query("unit == 'phone, same mix'"), by=group)
errors = {task: training_groups.errors_by_training_group(rows, group, pair) for task, rows in crossed.items()}
best = {task: training_groups.best_mixed_layer(rows, encoder) for task, rows in crossed.items()}
if asked.said:
    display(Markdown(words.bullets(asked.said)))

found = {}
for task in crossed:
    found[task, "systematic"] = training_groups.is_it_systematic(gaps[task], errors[task], encoder, best[task])
    found[task, "remains"] = training_groups.what_remains(alike[task], encoder)
    found[task, "deepens"] = training_groups.does_it_deepen(gaps[task], encoder, best[task])

# %% tags=["hide-input"]
reasons.training_group_chart(lead, errors[lead], gaps[lead], encoder, best[lead], contrast)

# %% [markdown]
# *How to read it.* Each line is one group of people, always the same people.
# From left to right, more of the speakers that trained the probe belong to the group named first; the amount of speech stays
# the same.
# If it did not matter who trained the probe, the lines would be level.
# The distance between them in the middle is what the other chapters call the gap.

# %% tags=["remove-input"]
display(Markdown(f"**The answer.**\n\n{reasons.answers(found, lead)}"))
for (task, rule), finding in found.items():
    glue(f"{task}_{rule}", finding.sentence, display=False)
    glue(f"{task}_{rule}_verdict", finding.verdict, display=False)

# %% [markdown]
# ## At which layers?
#
# The *penalty* of a group is how much its errors rise when the probe is trained on the other group instead of on the group
# itself.
# It is measured on the same people, so it cannot come from who they are or what they read.
# Grey: the same for two random halves of the people, as if there were no groups.

# %% tags=["hide-input"]
reasons.penalty_chart(lead, gaps[lead], encoder, contrast)

# %% tags=["remove-input"]
said = [found[lead, "deepens"].sentence, reasons.span_sentence(gaps[lead], encoder, best[lead])]
display(Markdown(words.bullets(said)))
table = training_groups.training_group_table(gaps[lead], encoder)
charts.captioned("by_trainer", table, folded=True, by=group, contrast=contrast)

# %% [markdown]
# ### Is the shift in the sound already?
#
# The controls go through the same steps.
# If log-mel, which was never trained, shows the same penalty, then the shift is in the sound.

# %% tags=["remove-input"]
Markdown(reasons.penalty_sentence(gaps[lead], "logmel"))

# %% [markdown]
# <details class="more"><summary>And of every other encoder?</summary>

# %% tags=["remove-input"]
everywhere = training_groups.with_published(crossed[lead], corpus)
charts.captioned("by_encoder", training_groups.encoders_table(everywhere, group))

# %% [markdown]
# </details>

# %% [markdown]
# <details class="more"><summary>How much of the uncertainty comes from the people who trained the probe?</summary>
#
# Intervals in other chapters are over the people who are tested.
# Here the training speakers, too, were drawn several times.

# %% tags=["remove-input"]
charts.captioned("variance", training_groups.variance_table(gaps[lead], encoder, best[lead]), layer=best[lead])

# %% [markdown]
# </details>

# %% [markdown]
# ## Phone by phone
#
# A gap over all phones can come from a few of them.

# %% tags=["remove-input"]
if "phone" in crossed:
    both = [fairlib.probe_phones(name, corpus, by_phone=True, force=force and name == encoder) for name in two]
    counted = only_groups(pd.concat(both), group, pair)
    kinds = fairlib.gaps_by_kind(counted, group, classes=by_phone.PHONE_CLASSES).query("encoder == @encoder")
    too_few = "*Too few people say too few phones: a gap of single phones would be mostly chance.*"
    display(Markdown(words.bullets(by_phone.sentences(kinds, best["phone"])) or too_few))

# %% [markdown]
# <details class="more"><summary>Which phones contribute most, and could other texts make the gap?</summary>
#
# Some phones are rare, and their gaps are mostly chance, so each phone's gap is pulled towards the mean of the vowels or of
# the consonants, the more so the fewer data it rests on.
# The last table holds the usual probe's gap at one mix of phones and durations; compare it with that of separate probes,
# above, which is at one mix, too.

# %% tags=["hide-input"]
if "phone" in crossed:
    if by_phone.enough(kinds, best["phone"]):
        display(reasons.phones_chart(kinds, best["phone"], contrast))
    table = by_phone.mixes_table(counted, group, encoder)
    display(charts.captioned("mixes", table, by=group, contrast=contrast))

# %% [markdown]
# </details>

# %% [markdown]
# ## Where the speakers lie
#
# If a group's speech varies more within each phone, its errors are random. If its phones are shifted, they are systematic.
# Both can be measured without any probe.
# For speaker identification, two other measures matter: the distance to the nearest other speaker, and how much a speaker's
# own utterances scatter.

# %% tags=["remove-input"]
geometry = pd.concat([fairlib.speaker_geometry(encoder, corpus, task, force=force) for task in crossed])
geometry = only_groups(geometry, group, pair)

# %% tags=["remove-input"]
said = []
if "phone" in crossed:
    own = counted[counted["encoder"] == encoder]
    said.append(reasons.foretelling_sentence("phone", geometry, own, group, pair, best["phone"]))
if "sid" in crossed:
    identified = only_groups(fairlib.probe_speakers(encoder, corpus, seeds=seeds), group, pair)
    said.append(reasons.foretelling_sentence("sid", geometry, identified, group, pair, best["sid"]))
Markdown(words.bullets(said))

# %% [markdown]
# <details class="more"><summary>Each measure at every layer</summary>

# %% tags=["remove-input"]
charts.captioned("geometry", erased.geometry_table(geometry, group, pair, encoder), by=group, contrast=contrast)

# %% [markdown]
# </details>

# %% [markdown]
# ## Does the gap need the group to be readable?
#
# A linear probe can be trained to read the group itself from a speaker's utterances. Tested on new
# speakers, {glue:text}`group_read`.
# Now the group is *erased*: the features are changed as little as possible, so that no linear probe can read it
# {cite:p}`belrose2023`.
# If the gap depended on what can be read of the group, it would shrink.
# Erasing random labels is the control.

# %% tags=["remove-input"]
wiped = {
    task: pd.concat([fairlib.erase_group(name, corpus, group, task, force=force and name == encoder) for name in two])
    for task in crossed
}
how_well = reasons.readable_sentence(wiped["sid"], group, encoder) if "sid" in wiped else "this was not done here"
glue("group_read", how_well, display=False)

# %% tags=["remove-input"]
years = pd.DataFrame()
if "sid" in wiped and "age" in wiped["sid"] and wiped["sid"]["age"].notna().any():
    years = fairlib.erase_group(encoder, corpus, "age", "sid", force=force)
    display(Markdown(erased.years_sentence(years, group, encoder)))

# %% tags=["remove-input"]
for task, rows in wiped.items():
    bias, changes = erased.erased_changes(only_groups(rows, group, pair), group, encoder, TASKS[task].main[1])
    found[task, "erased"] = erased.does_it_rest_on_the_group(bias, changes, encoder)
    display(Markdown(f"**{TASKS[task].heading}:** *{found[task, 'erased'].verdict}*. {found[task, 'erased'].sentence}"))
    table = erased.erased_table(rows, bias, group, encoder)
    display(charts.captioned("erased", table, folded=True, heading=TASKS[task].heading, by=group, contrast=contrast))

# %% [markdown]
# <details class="more"><summary>From which layer can the group be read best?</summary>

# %% tags=["remove-input"]
if "sid" in wiped:
    display(reasons.readable_chart(wiped["sid"], group, encoder))

# %% [markdown]
# </details>

# %% [markdown]
# ## The other task
#
# A probe cannot identify speakers whom it has never met.
# So the probe is replaced by what speaker verification calls a back end: the directions in which the *training* speakers
# differ.
# It is trained on one group or the other. Then new speakers are enrolled with three quarters of their utterances and
# identified in the rest.

# %% tags=["remove-input"]
for task in crossed.keys() - {lead}:
    display(reasons.penalty_chart(task, gaps[task], encoder, contrast))
    display(Markdown(reasons.answers(found, task)))

# %% [markdown]
# ## What could be wrong
#
# - **The labels know only one way to speak.** Phones come from a dictionary of adults' American English and a forced aligner.
#   Where somebody speaks differently, label and sound differ, and a probe that was trained on such speakers learns the
#   difference as if it were the phone.
# - **Different texts, different ages.** The groups read different sentences, and children are of many ages.
#   The mix of phones and durations is held equal; what surrounds a phone is not.
# - **A linear eraser.** A probe with a hidden layer could still read what was erased, and erasing means of utterances does
#   not erase frames.
# - **Half of the training speakers.** Each draw takes half of them, so errors are a little higher than in other chapters.
# - **A shift is not the encoder's fault.** That training helps says where the remedy lies. It does not say who is to blame.

# %% [markdown]
# <details class="more"><summary>The rules behind these verdicts</summary>

# %% tags=["remove-input"]
rules = [(finding.claim.rstrip("."), finding.criterion) for (task, _), finding in found.items() if task == lead]
Markdown(words.bullets(rules))

# %% [markdown]
# </details>

# %% [markdown]
# ## Rerun it
#
# The command that made this page; put another encoder, corpus or two other groups in its place:

# %% tags=["remove-input"]
parameters = dict(encoder=encoder, corpus=corpus, group=group, between=between, seeds=seeds, force=force)
rerun("why", parameters)

# %% [markdown]
# ## Exercises
#
# :::{exercise} Look
# :label: why-look
# In the first chart, how far apart are the two lines at the left, in the middle and at the right?
# If you were to report one number as "the gap", which of the three would you choose, and for whom would it matter?
# :::
#
# :::{solution-start} why-look
# :class: dropdown
# :::
#
# None of the three is wrong; they answer three questions.
# On the left is what a group meets when nobody thought of it while training the recogniser; in the middle, what it meets in
# an equal mix; on the right, what the *other* group would meet if the roles were reversed.
# A report that gives one of them should say which.

# %% tags=["solution"]
import fairlib
from fairlib.findings import training_groups

groups = [name.strip() for name in between.split(",") if name.strip()]
rows = fairlib.train_across_groups(encoder, corpus, group, groups, "phone", seeds)
rows = rows[rows["unit"] == "phone"]
first, other = sorted(rows[group].unique(), reverse=True)
at = training_groups.best_mixed_layer(rows, encoder)
table = training_groups.errors_by_training_group(rows, group, (first, other))
wide = table[table["layer"] == at].pivot(index="share", columns="group", values="error")
print(f"error of {first} less that of {other}, in points, by the share of {first} among the training speakers (%):")
print((100 * (wide[first] - wide[other])).round(1).to_dict())

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Try
# :label: why-try
# Each draw takes half of the training speakers. Take a single draw, and then another.
# How much does the penalty of the group named first differ between draws, and how wide is the interval?
# :::
#
# :::{solution-start} why-try
# :class: dropdown
# :::
#
# The draws differ: it matters who happens to be in the training set.
# A study with one training set cannot see this part of its own uncertainty, however many people it tests.

# %% tags=["solution"]
import fairlib
from fairlib.findings import training_groups

groups = [name.strip() for name in between.split(",") if name.strip()]
rows = fairlib.train_across_groups(encoder, corpus, group, groups, "phone", seeds)
rows = rows[rows["unit"] == "phone"]
rows = rows[rows["layer"] == training_groups.best_mixed_layer(rows, encoder)]


def penalty(some):
    table = fairlib.training_group_gaps(some, by=group).query("quantity == 'penalty' and scale == 'log_odds'")
    return table[table["group"] == max(table["group"])].iloc[0]


every = penalty(rows)
print(f"{every['group']}, all draws: {every['estimate']:+.2f} [{every['low']:+.2f}, {every['high']:+.2f}]")
for draw, some in rows.groupby("seed"):
    print(f"draw {draw}: {penalty(some)['estimate']:+.2f}")

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Build
# :label: why-build
# Simulate the truth yourself: voices of two groups, the second with the same spread but in other directions, as if recorded
# in another room.
# Does training on one group or the other find a shift? Then let the second group vary more in the same directions, and look
# again.
# :::
#
# :::{solution-start} why-build
# :class: dropdown
# :::
#
# Other directions are a shift: a back end that was trained on the group itself learns to ignore them, and the penalty is
# large.
# More of the same is not: both back ends learn the same directions, the penalty is near zero, and the gap remains.

# %% tags=["solution"]
import numpy as np
import pandas as pd

import fairlib
from fairlib.encoders.features import Features

rng = np.random.default_rng(0)
names = [f"{side}{number:02d}" for side in ("first", "other") for number in range(40)]
people = pd.DataFrame({"speaker_id": np.repeat(names, 8)})
people["utterance_id"] = [f"u{row}" for row in range(len(people))]
people["side"] = people["speaker_id"].str[:5]
people["split"] = np.where(people["speaker_id"].str[-1].astype(int) % 2 == 0, "train", "test")
voice = {name: rng.normal(0, 1, 16) for name in names}
rooms = rng.normal(0, 1, (2, 3, 16))
for what, other_room, more in (("a shift", 1, 1.0), ("more of the same", 0, 2.0)):
    vectors = []
    for name, side in zip(people["speaker_id"], people["side"]):
        mine, times = (other_room, more) if side == "other" else (0, 1.0)
        vectors.append(voice[name] + times * (1.5 * rng.normal(0, 1, 3) @ rooms[mine] + 0.4 * rng.normal(0, 1, 16)))
    features = Features.of_arrays({"0": np.array(vectors, np.float32)}, people, name=what)
    made = fairlib.training_group_gaps(fairlib.train_across_groups(features, by="side", task="sid", draws=3), by="side")
    made = made[made["scale"] == "difference"].set_index(["quantity", "group"])["estimate"]
    print(f"{what}: penalty of the second group {100 * made['penalty', 'other']:+.1f} points,", end=" ")
    print(f"gap where each has its own {100 * made['own-taught gap', '']:+.1f}")

# %% [markdown]
# :::{solution-end}
# :::
#
# ## The next question
#
# So far every answer came from one set of choices: one probe, one scale, one channel, all people of one corpus.
# Would other choices have given other answers? [The next chapter](11_robustness.ipynb) tries all that are available.
#
# ## Provenance

# %% tags=["remove-input"]
made = [*wiped.values(), geometry, *([counted] if "phone" in crossed else []), *([years] if len(years) else [])]
runs = [rows for table in made for _, rows in table.groupby(["encoder", "task"], sort=False)]
judged = {reasons.judged_as(task, rule): finding for (task, rule), finding in found.items()}
provenance_box([*asked.runs, *runs], parameters, chapter="why", findings=judged)
