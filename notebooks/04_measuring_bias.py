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
# # Measuring bias
#
# One group of speakers has more errors than another.
# **When is that a finding, and when is it chance, or the metric?**
#
# **The answer.** {glue:text}`answer_people` {glue:text}`answer_rulers`
#
# To read this chapter, you only need to know what a mean is.
# It simulates studies whose truth we know, and counts how often each method is wrong about them.
# The book uses the method that is wrong least often.

# %% tags=["remove-cell"]
import fairlib  # not found? In a clone: pip install -c constraints.txt -e ".[book]", then restart the kernel

# %% tags=["parameters", "hide-input"]
speakers = 30  # people in each group of the made-up study
planted = 0.0  # log odds ratio between the two groups; zero plants no gap
seed = 0  # of the made-up study: another number is another study
force = False  # compute the outcomes on synthetic speech again, even where they are stored or published

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import display
from myst_nb import glue
from scipy import stats

import fairlib
from fairlib.bias import group_bias, group_errors
from fairlib.bias.contrasts import SCALE_WORDS
from fairlib.bias.power import smallest_gaps
from fairlib.bias.simulation import constant_odds, simulate_outcomes
from fairlib.book.provenance import provenance_box, rerun
from fairlib.corpora.audio import read_audio
from fairlib.corpora.synthetic import examples
from fairlib.display import charts, simulated, sounds
from fairlib.display.words import number, percent
from fairlib.findings import calibration
from fairlib.findings.calibration import lines, value
from fairlib.findings.planted import layers_that_show, voices_table
from fairlib.findings.wording import say

charts.use_book_renderer()
everything = calibration.calibration()

# %% tags=["remove-input", "remove-output"]
people, utterances = (value("false_positives", test) for test in ("gap", "utterances as sample"))
glue("answer_people", say("simulated.people", people=people, utterances=utterances))
tests = "rank test over layers, as usual", "slope beyond one odds ratio"
usual, ours = (value("association", test, condition="constant odds") for test in tests)
glue("answer_rulers", say("simulated.scales", usual=usual, ours=ours))

# %% [markdown]
# ## A simulated study
#
# Two groups of people are recorded, twenty utterances each, and a recogniser makes errors.
# Each person has an error rate of their own: some are easy to recognise, others are not.
# Both groups are drawn from the same distribution, unless you plant a gap: {glue:text}`planted_words`.
# Here is one such study.

# %% tags=["hide-input"]
worse, other = constant_odds([0.25], planted)
study = simulate_outcomes({"one": worse, "other": other}, speakers=speakers, seed=seed)
gap = group_bias(study, "group").set_index("scale").loc["difference"]
of_person = study.groupby(["group", "speaker_id"])[["errors", "length"]].sum()
rates = (of_person["errors"] / of_person["length"]).rename("value").reset_index()
simulated.study_chart(rates, gap["estimate"])

# %% tags=["remove-input", "remove-output"]
of_utterances = (study["errors"] / study["length"]).groupby(study["group"]).agg(list)
naive = stats.ttest_ind(*of_utterances).pvalue
glue("planted_words", "here none was planted" if planted == 0 else f"here a log odds ratio of {planted:g} was planted")
glue("gap_points", f"{abs(100 * gap['estimate']):.1f}")
glue("gap_low", number(100 * gap["low"], 1))
glue("gap_high", number(100 * gap["high"], 1))
glue("naive_p", f"p = {naive:.3f}" if naive >= 0.001 else "p below 0.001")
glue("permutation_p", f"{gap['p']:.2f}")
glue("speakers_text", str(speakers))
glue("studies_text", f"{everything.loc[everything['topic'] == 'coverage', 'studies'].min():,}")
chance = "would not be published this time; other seeds show that it often would"
glue("naive_words", "would be published" if naive < 0.05 else chance)

# %% [markdown]
# The means of the two groups lie {glue:text}`gap_points` points apart.
# Is that a gap, or did one group just happen to include people who are harder to recognise?
#
# A test that treats every utterance as independent gives {glue:text}`naive_p`: it {glue:text}`naive_words`.
# A test that shuffles the group labels among the *people*, many times, gives p = {glue:text}`permutation_p`.
# Its interval runs from {glue:text}`gap_low` to {glue:text}`gap_high` points.
#
# ## First trap: counting utterances as people
#
# One study may be bad luck.
# So we simulated {glue:text}`studies_text`, at several sizes, all without a gap, and counted how often each test claims one.
# At the usual level, a valid test should do so in one study of twenty {cite}`liu2019`.

# %% tags=["hide-input"]
claims = lines("false_positives", {"utterances as sample": "utterances", "gap": "people"})
simulated.curves("claims", claims, share=utterances)

# %% [markdown]
# More people do not help: the method is wrong at any size.
# The same mistake makes intervals too short. Where a gap *was* planted, a 95 % interval over utterances contains it in only
# {glue:text}`bare_coverage` of studies.

# %% [markdown]
# <details class="more"><summary>How often each interval contains the truth</summary>

# %% tags=["hide-input"]
methods = {
    "stretched percentile": "people, stretched (this book)",
    "percentile": "people, plain",
    "utterance bootstrap": "utterances",
}
bare = value("coverage", "utterance bootstrap")
simulated.curves("coverage", lines("coverage", methods), share=bare)

# %% tags=["remove-input", "remove-output"]
glue("bare_coverage", percent(bare))
glue("plain_few", percent(value("coverage", "percentile", speakers=5)))
glue("stretched_few", percent(value("coverage", "stretched percentile", speakers=5)))
glue("bca_few", percent(value("coverage", "BCa", speakers=5)))
glue("studentised_few", percent(value("coverage", "studentised", speakers=5)))
glue("studentised_wider", f"{100 * value('width', 'studentised', speakers=5):.0f}")
glue("stretched_width", f"{100 * value('width', 'stretched percentile', speakers=5):.0f}")

# %% [markdown]
# With five people in each group the plain interval contains the truth in {glue:text}`plain_few` of studies: a resample of
# so few people varies too little.
# This book stretches it by the factor that Student's t gives for that number ({glue:text}`stretched_few`).
# Two well-known remedies were tried as well: the bias-corrected interval, BCa ({glue:text}`bca_few`), and the
# studentised one ({glue:text}`studentised_few`, at a mean width of {glue:text}`studentised_wider` points instead of
# {glue:text}`stretched_width`).
#
# </details>

# %% [markdown]
# ## Second trap: the largest of many
#
# With eight groups, one is always worst and one is always best.
# Papers report the gap between these two, and it is never zero, however fair the system {cite}`lum2022`.

# %% tags=["hide-input"]
parts = {"worst vs best: estimate": "worst vs best", "worst vs best: excess": "the same, less its null"}
rows = lines("largest_gap", parts, condition="eight groups alike")
rows[["value", "low", "high"]] *= 100
few = value("largest_gap", "worst vs best: estimate", condition="eight groups alike", speakers=5)
simulated.curves("worst_vs_best", rows, points=100 * few)

# %% [markdown]
# The remedy is to measure how large that gap is when group labels are shuffled among the people, and to subtract it.
# What remains is the *excess*.
# Groups with fewer than five people are flagged and left out of such comparisons.
#
# It is the same with tests. Thirteen layers, two tasks, six groups: among so many, something will look significant.
# So this book compares each gap with the largest one, over all layers and groups, in the same shuffled studies
# (*family-wise*).

# %% [markdown]
# <details class="more"><summary>How often is at least one gap claimed where there is none?</summary>
#
# Holm's simpler correction stands beside the family-wise test.

# %% tags=["hide-input"]
caption = "Studies without any gap in which at least one is claimed; it should be 1 in 20"
charts.table(calibration.family_table(), caption)

# %% [markdown]
# </details>

# %% [markdown]
# ## Third trap: the metric
#
# Take a bias that is the same at every layer: the odds of an error are one and a half times as high for one group.
# Now let the layers differ in their error rates.
# The *difference* and the *ratio* of error rates both show a pattern across layers, and not the same one
# {cite}`hutiri2024`.

# %% tags=["hide-input"]
artefact = everything[everything["topic"] == "artefact"]
artefact = artefact.assign(x=artefact["condition"].astype(float), line=artefact["scale"].map(SCALE_WORDS))
largest = artefact.groupby("scale")["value"].transform("max")
simulated.curves("scales", artefact.assign(value=artefact["value"] / largest))

# %% [markdown]
# <details class="more"><summary>Each metric on its own axis</summary>

# %% tags=["hide-input"]
for scale, factor in {"difference": 100, "ratio": 1, "log_odds": 1}.items():
    rows = artefact[artefact["scale"] == scale]
    display(simulated.curves(scale, rows.assign(value=factor * rows["value"])))

# %% [markdown]
# </details>

# %% [markdown]
# A difference is largest where half of all answers are wrong, and a ratio where errors are rare.
# None of the three is wrong.
# A difference counts people's errors, a ratio compares experiences, odds compare difficulty.
# But a *pattern* across layers that shows on one metric alone may come from that metric.
# So chapters 5 and 6 show their gaps in speaker identification and in characters on all three. Verdicts are on the log odds
# ratio unless they say otherwise.
#
# ## Fourth trap: bias that seems to follow error
#
# The paper that this book follows says that bias follows error from layer to layer, in one direction for speaker
# identification and in the other for speech recognition.
# The usual test is a rank correlation over layers.
# We ran it on studies in which bias is *the same at every layer*. On differences of error rates it finds a pattern in
# {glue:text}`usual_difference` of them.
#
# The test of this book asks how the gap changes with the log odds of the error, *beyond* what one constant odds ratio would
# give. It finds a pattern in {glue:text}`ours_difference` of the same studies; and where bias does rise with error, it finds
# that in {glue:text}`ours_rises`.

# %% [markdown]
# <details class="more"><summary>Both tests on three metrics, and among the people of this book</summary>

# %% tags=["hide-input"]
caption = "Studies of eight layers, thirty people a group, in which bias is found to follow error"
charts.table(calibration.association_table(), caption)

# %% [markdown]
# In the first two lines of the table, the gap is the same at every layer: there is no pattern to find.
#
# The errors in these studies are evenly spread; those of our encoders are not.
# So the test was also tried on a more realistic design: people drawn from those of speechocean762, and the error rates of
# pocket-hubert, the first encoder of this book, at its layers, with errors removed or added until the gaps were as planted.
# Where the gap is constant, it should find a pattern in one study of twenty at most. It does so in
# {glue:text}`alarms_speakers` in speaker identification, where it is cautious, and in up to {glue:text}`alarms_characters`
# in characters.
#
# *R* is how many times larger the gap is at one end of the layers than at the other.

# %% tags=["hide-input"]
caption = "How often the slope's p is below 0.05 among these people, at these errors"
charts.table(calibration.design_table(), caption)

# %% tags=["remove-input", "remove-output"]
glue("usual_difference", percent(usual))
glue("ours_difference", percent(ours))
glue("ours_rises", percent(value("association", "slope, as planted", "log_odds", "planted: rises with error")))
design = everything.query("topic == 'design' and scale == 'log_odds' and condition.str.endswith('R 1.0')")
for name, task in {"alarms_speakers": "sid", "alarms_characters": "asr"}.items():
    glue(name, percent(design.loc[design["condition"].str.startswith(task), "value"].max()))

# %% [markdown]
# </details>

# %% [markdown]
# ## Fifth trap: too few people
#
# If no gap is found, it may be absent, or too small for the number of people.
# Only the smallest gap that *would* have been detected shows which.

# %% tags=["hide-input"]
shape = simulate_outcomes({"one": [0.25], "other": [0.25]}, speakers=200, seed=1)
sizes = [5, 10, 20, 50, 100, 200]
power = smallest_gaps(shape, "group", speakers=sizes).query("scale == 'difference' and not observed")
simulated.power_chart(100 * power.set_index("n_speakers_a")["smallest"])

# %% [markdown]
# ## Sixth trap: whom the probe was trained on
#
# A probe that was trained mostly on one group can fail another that speaks just as clearly.
# [Chapter 10](10_why.ipynb) therefore trains probes on one group at a time.
# In simulated voices, that distinguishes a *shift*, which a probe of the group's own would remove, from *noise*, which no
# probe can remove.

# %% [markdown]
# <details class="more"><summary>How often are a shift and noise detected?</summary>
#
# Voices of two groups in three worlds.
# In the first, the groups are alike.
# In the second, the voices of the second group vary as much, but in other directions: a shift.
# In the third, they vary more, in the same directions: noise.
#
# {glue:text}`crossed_words` ({glue:text}`crossed_studies`.)
# Where nothing of the kind was planted, a detection should be rare: one study of twenty or fewer.

# %% tags=["hide-input"]
caption = "How many of the studies show what, by the world that they were made in"
charts.table(calibration.crossed_table(), caption)

# %% tags=["remove-input", "remove-output"]
glue("crossed_studies", f"{everything.loc[everything['topic'] == 'teaching', 'studies'].min()} studies of each kind")
glue("crossed_words", calibration.crossed_sentence())

# %% [markdown]
# </details>

# %% [markdown]
# ## Synthetic speech with known disadvantages
#
# So far the outcomes were simulated.
# Now the whole pipeline is tested, from audio through an encoder and a probe to the gap.
# A synthesiser (eSpeak NG) speaks as six groups of 24 voices: two are left as they are, one speaks too fast, one is heard
# through a narrow band, one in noise and one in much noise.
# This says nothing about people. It shows whether a disadvantage that we put in is detected.

# %% tags=["hide-input"]
sounds.players(
    {group.replace("_", " "): read_audio(path) for group, path in examples().items()},
    "The same synthetic voice and sentence in each group",
)

# %% [markdown]
# The two groups that were left alone should show no gap at any layer: {glue:text}`alike_words`.
# The others should show theirs, as far as so few voices can: {glue:text}`harmed_words`.
#
# A disadvantage in the sound need not become one in the outcome.
# Speech that is too fast is hard to transcribe, but the voice may be as easy to identify as any.
# {glue:text}`narrow_words`
#
# <details class="more"><summary>The errors of each group, and the layers at which each disadvantage is found</summary>

# %% tags=["hide-input"]
runs = [
    probe(name, "planted", force=force)
    for name in ("logmel", "pocket-hubert")
    for probe in (fairlib.probe_speakers, fairlib.probe_characters)
]
outcomes = pd.concat(runs, ignore_index=True).query("unit in ('speaker', 'char')")
errors = group_errors(outcomes, by="group")
last = errors[errors["layer"].isin(["logmel", errors["layer"].iloc[-1]])]
charts.table(voices_table(last), "Error of each group of synthetic voices, with 95 % intervals over voices")

# %% tags=["remove-input", "remove-output"]
own = outcomes[outcomes["encoder"] == "pocket-hubert"]
alike = layers_that_show(own, ["clear_too"], whichever_way=True)
glue("alike_words", say("simulated.alike", rows=alike.to_dict("records")))
harmed = layers_that_show(own, ["hurried", "telephone", "noisy", "very_noisy"])
detected = harmed[harmed["layers that show it"] > 0].groupby("task", sort=False)["disadvantage"].agg(list)
glue("harmed_words", say("simulated.harmed", disadvantages=len(harmed), detected=detected.to_dict()))
narrow = last[last["unit"] == "speaker"].pivot(index="encoder", columns="group", values="error")
glue("narrow_words", say("simulated.narrow", easier=(narrow["telephone"] < narrow["clear"]).all()))

# %% tags=["remove-input"]
charts.table(harmed, "Layers of pocket-hubert at which each planted disadvantage is found (family-wise over layers)")

# %% [markdown]
# </details>

# %% [markdown]
# ## What could be wrong
#
# - The simulated people are normally distributed in log odds. Real people may not be: a few for whom nothing works would make
#   the true intervals wider than ours.
# - With groups of very unequal size *and* spread, and ten people in the smaller one, the test finds a gap that is not there in
#   {glue:text}`unequal_few` of studies.
# - The synthetic voices differ less than people do. They test the pipeline, not the world.
# - No measure says *why* there is a gap. Adjusted gaps, which later chapters show beside the raw ones, account for what was
#   recorded, such as text and speaking rate, and for nothing else.

# %% tags=["remove-input", "remove-output"]
glue("unequal_few", percent(value("false_positives", "gap", condition="unequal sizes and spreads", speakers=10)))

# %% [markdown]
# ## Rerun it
#
# The command that made this page.
# Plant a gap (`--planted`), change the number of people, or simulate another study (`--seed`).
# The studies behind the charts are made by `python bench/calibration.py`, in some hours.

# %% tags=["remove-input"]
parameters = dict(speakers=speakers, planted=planted, seed=seed, force=force)
rerun("measuring-bias", parameters)

# %% [markdown]
# ## Exercises
#
# :::{exercise} Look
# :label: measuring-look
# In the first chart, two people of the same group differ far more than the two groups' means do.
# Is that enough to say that there is no gap?
# :::
#
# :::{solution-start} measuring-look
# :class: dropdown
# :::
#
# No.
# What counts is not how much *people* differ but how much *means of so many people* would differ by chance, which is
# smaller by a factor of the square root of their number.
# The code computes that for the chapter's study. A gap of about three times the last number would be detected in four
# studies of five.

# %% tags=["solution"]
from fairlib.bias.simulation import constant_odds, simulate_outcomes

worse, other = constant_odds([0.25], planted)
study = simulate_outcomes({"one": worse, "other": other}, speakers=speakers, seed=seed)
sums = study.groupby(["group", "speaker_id"])[["errors", "length"]].sum()
rates = sums["errors"] / sums["length"]
means, spread = rates.groupby("group").mean(), rates.groupby("group").std()
print(f"the means differ by {100 * abs(means.diff().iloc[-1]):.1f} points,")
print(f"two people of one group typically by {100 * 2**0.5 * spread.mean():.1f},")
print(
    f"and two means of {speakers} people each by chance typically by {100 * ((spread**2).sum() / speakers) ** 0.5:.1f}."
)

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Try
# :label: measuring-try
# Plant a log odds ratio of one half in studies with 10, 30 and 100 people in each group.
# How often is it found? Compare with the chart of the smallest gap.
# :::
#
# :::{solution-start} measuring-try
# :class: dropdown
# :::
#
# The code runs twenty studies of each size; "found" means a p below one in twenty.
# Small studies often miss a gap that is really there.
# So "not found" in a small study does not mean "not there".

# %% tags=["solution"]
import pandas as pd

from fairlib.bias import group_bias
from fairlib.bias.simulation import constant_odds, simulate_outcomes

worse, other = constant_odds([0.25], 0.5)
found = {}
for people in (10, 30, 100):
    studies = (simulate_outcomes({"one": worse, "other": other}, speakers=people, seed=number) for number in range(20))
    tables = [group_bias(study, "group", resamples=50, permutations=400).set_index("scale") for study in studies]
    found[people] = sum(table.loc["log_odds", "p"] < 0.05 for table in tables) / 20
pd.Series(found, name="share of studies that find the gap").rename_axis("people in each group").to_frame()

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Build
# :label: measuring-build
# Many readers conclude that there is a gap when two 95 % intervals do not overlap.
# Write that rule as a function, and try it where nothing was planted and where something was.
# How often is it right, and what does it miss?
# :::
#
# :::{solution-start} measuring-build
# :class: dropdown
# :::
#
# That two intervals do not overlap is a stricter condition than that the gap's own interval excludes zero.
# Where there is no gap, the rule almost never claims one; where there is one, it misses some that the permutation test finds.
# It errs on the cautious side, which in a study of fairness is not the side of those who are disadvantaged.

# %% tags=["solution"]
import pandas as pd

from fairlib.bias import group_bias, group_errors
from fairlib.bias.simulation import constant_odds, simulate_outcomes


def keep_apart(study):
    low, high = (group_errors(study, "group", resamples=400)[name] for name in ("low", "high"))
    return low.max() > high.min()


rows = []
for planted_here in (0.0, 0.5):
    worse, other = constant_odds([0.25], planted_here)
    studies = [simulate_outcomes({"one": worse, "other": other}, speakers=30, seed=number) for number in range(40)]
    tests = [group_bias(study, "group", resamples=50, permutations=400)["p"].iloc[0] < 0.05 for study in studies]
    rows.append([planted_here, sum(map(keep_apart, studies)) / 40, sum(tests) / 40])
pd.DataFrame(rows, columns=["planted log odds ratio", "intervals keep apart", "permutation test"])

# %% [markdown]
# :::{solution-end}
# :::
#
# ## The next question
#
# We know six traps, and how to avoid each.
# [The next chapter](05_speaker_identification.ipynb) uses these methods on a first task: can the speaker be identified from a
# layer, and equally well for everybody?
#
# ## Provenance

# %% tags=["remove-input"]
provenance_box(runs, parameters, "measuring-bias")
