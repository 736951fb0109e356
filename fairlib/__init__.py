"""Where, inside a self-supervised speech model, does unfairness between speaker groups begin?

A small helper library for the book of that question: corpora, encoders, layer features, probes, outcomes, bias, charts.
"""

from importlib import import_module

_HOME = {
    "load_corpus": "fairlib.corpora",
    "load_encoder": "fairlib.encoders",
    "extract": "fairlib.encoders.extraction",
    "probe_speakers": "fairlib.probes",
    "probe_characters": "fairlib.probes",
    "probe_phones": "fairlib.probes",
    "identify_among": "fairlib.probes",
    "verify_speakers": "fairlib.probes",
    "description_length": "fairlib.probes",
    "confusions": "fairlib.probes",
    "selectivity": "fairlib.probes",
    "kept_features": "fairlib.probes",
    "compare_frame_modes": "fairlib.probes",
    "run_calls": "fairlib.encoders.workers",
    "local_processes": "fairlib.encoders.workers",
    "group_errors": "fairlib.bias",
    "group_bias": "fairlib.bias",
    "bias_differences": "fairlib.bias",
    "bias_error_association": "fairlib.bias.association",
    "adjusted_gaps": "fairlib.bias.adjustment",
    "smallest_gaps": "fairlib.bias.power",
    "simulate_outcomes": "fairlib.bias.simulation",
    "group_columns": "fairlib.bias",
    "layer_order": "fairlib.bias",
    "pretrain": "fairlib.training.pretraining",
    "finetune": "fairlib.training.finetuning",
}
__all__ = [*_HOME, "charts"]


def __getattr__(name: str):
    # Loaded when first asked for: torch takes seconds, and the command line's answers should not.
    if name == "charts":
        return import_module("fairlib.display.charts")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'fairlib' has no attribute {name!r}")
