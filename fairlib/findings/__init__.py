"""Findings: what outcomes say of a claim, by a dated rule; one file for each question.

`finding` (the form of a finding), `wording` (its words, from `assets/sentences.toml`), `gap_tables`, `encoder_gap`
(where a gap begins, whose it is, what fine-tuning does), `layers` (what layers know), `pretraining` (when a gap
opens), `scaling` (whether a better encoder closes it), `views` (speaker identification asked more fairly), `speakers`
(who is in the data), `questions` (what can be asked of a corpus), `where` (whether a gap differs between layers),
`opposite` (claim C2), `reference` (its slopes beside others), `training_groups` (whom a probe is trained on),
`robustness`, `claims` and `survey` (every encoder side by side), `calibration` and `planted` (what the measures do on
planted truth).
"""

from fairlib.findings.encoder_gap import (
    BEGINS_CLAIM,
    BEGINS_CRITERION,
    FIRST_LAYERS,
    TUNED_CRITERION,
    WHOSE_CLAIM,
    WHOSE_CRITERION,
    after_fine_tuning,
    all_contrasts,
    tuned_table,
    where_bias_begins,
    whose_gap,
)
from fairlib.findings.finding import Finding, not_asked, of_people, of_task, refused
from fairlib.findings.gap_tables import (
    SATURATED,
    adjusted_for_recorded,
    adjusted_table,
    contrasts,
    control_differences,
    controls,
    controls_in_context,
    every_column,
    gaps,
    ladder_table,
    layer_table,
    main_contrast,
    mark_saturated,
    mean_error,
    the_encoder,
)
from fairlib.findings.rules import FEWEST_JUDGED

__all__ = [
    "BEGINS_CLAIM",
    "BEGINS_CRITERION",
    "FEWEST_JUDGED",
    "FIRST_LAYERS",
    "Finding",
    "SATURATED",
    "TUNED_CRITERION",
    "WHOSE_CLAIM",
    "WHOSE_CRITERION",
    "adjusted_for_recorded",
    "adjusted_table",
    "after_fine_tuning",
    "tuned_table",
    "all_contrasts",
    "contrasts",
    "control_differences",
    "controls_in_context",
    "controls",
    "every_column",
    "gaps",
    "ladder_table",
    "layer_table",
    "main_contrast",
    "mark_saturated",
    "mean_error",
    "not_asked",
    "of_people",
    "of_task",
    "refused",
    "the_encoder",
    "where_bias_begins",
    "whose_gap",
]
