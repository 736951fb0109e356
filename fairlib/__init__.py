"""Where, inside a self-supervised speech model, does unfairness between speaker groups begin?

A small helper library for the book of that question: corpora, encoders, layer features, probes, outcomes, bias, charts.
Every piece takes names or objects, and works alone: features of one's own (`Features.of_arrays`) go into these probes,
these features into other probes, and outcomes of any origin into `group_bias`.

Example:
    >>> import fairlib  # with "speechocean762" for the corpus, five seeds and by="age_group", on real speech
    >>> corpus = fairlib.load_corpus("synthetic", speakers_per_group=3, utterances_per_speaker=4)
    >>> encoder = fairlib.load_encoder("pocket-hubert")
    >>> features = fairlib.extract(encoder, corpus, frames=True)  # or leave it out: probe() extracts
    >>> outcomes = fairlib.probe(features, fairlib.SpeakerProbe(seeds=2, l2=1e-3))
    >>> outcomes = fairlib.with_controls(outcomes, corpus)  # log-mel and the untrained twin
    >>> bias = fairlib.group_bias(outcomes, by="group", min_speakers=2)
    >>> finding = fairlib.where_bias_begins(bias)  # verdict and facts
    >>> finding.verdict, finding.evidence[0]["layer"]
    ('inconclusive', 'cnn')
    >>> chart = fairlib.charts.bias_by_layer(bias)  # words from the facts unless given
    >>> features.pooled("5").shape, features.frames("5", features.utterance_ids[0]).shape[1]
    ((36, 384), 192)
"""

from importlib import import_module
from typing import Any

from fairlib.base.moved import find_moved_modules, name_now

find_moved_modules()

_HOME = {
    "load_corpus": "fairlib.corpora",
    "load_encoder": "fairlib.encoders",
    "extract": "fairlib.encoders.extraction",
    "Features": "fairlib.encoders.features",
    "probe": "fairlib.probes",
    "SpeakerProbe": "fairlib.probes",
    "CharacterProbe": "fairlib.probes",
    "PhoneProbe": "fairlib.probes",
    "with_controls": "fairlib.probes",
    "probe_speakers": "fairlib.probes",
    "probe_characters": "fairlib.probes",
    "probe_phones": "fairlib.probes",
    "identify_among": "fairlib.probes",
    "verify_speakers": "fairlib.probes",
    "description_length": "fairlib.probes",
    "train_across_groups": "fairlib.probes.training_groups",
    "speaker_geometry": "fairlib.probes.geometry",
    "erase_group": "fairlib.probes.erasure",
    "confusions": "fairlib.probes",
    "selectivity": "fairlib.probes",
    "kept_features": "fairlib.probes",
    "compare_frame_modes": "fairlib.probes",
    "run_calls": "fairlib.encoders.workers",
    "local_processes": "fairlib.encoders.workers",
    "group_errors": "fairlib.bias",
    "group_bias": "fairlib.bias",
    "bias_differences": "fairlib.bias",
    "dose_slopes": "fairlib.bias",
    "gap_profile": "fairlib.bias",
    "training_group_gaps": "fairlib.bias.training_groups",
    "gaps_by_kind": "fairlib.bias.kinds",
    "same_mix": "fairlib.outcomes.mix",
    "error_slopes": "fairlib.bias.association",
    "mean_slopes": "fairlib.bias.association",
    "adjusted_gaps": "fairlib.bias.adjustment",
    "smallest_gaps": "fairlib.bias.power",
    "simulate_voices": "fairlib.encoders.simulated",
    "simulate_outcomes": "fairlib.bias.simulation",
    "where_bias_begins": "fairlib.findings",
    "group_columns": "fairlib.bias",
    "layer_order": "fairlib.bias",
    "pretrain": "fairlib.training.pretraining",
    "finetune": "fairlib.training.finetuning",
}
__all__ = [*_HOME, "charts"]


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: torch takes seconds, and the command line's answers should not.
    if name == "charts":
        return import_module("fairlib.display.charts")
    name = name_now(name)
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'fairlib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
