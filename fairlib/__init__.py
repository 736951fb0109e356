"""Where, inside a self-supervised speech model, does unfairness between speaker groups begin?

A small helper library for the book of that question: corpora, encoders, layer features, probes, outcomes, bias, charts.
"""

from importlib import import_module

_HOME = {
    "load_corpus": "fairlib.corpora",
    "load_encoder": "fairlib.encoders",
    "extract": "fairlib.extraction",
    "probe_speakers": "fairlib.probing",
    "probe_characters": "fairlib.probing",
    "probe_phones": "fairlib.probing",
    "identify_among": "fairlib.probing",
    "verify_speakers": "fairlib.probing",
    "description_length": "fairlib.probing",
    "confusions": "fairlib.probing",
    "selectivity": "fairlib.probing",
    "kept_features": "fairlib.probing",
    "compare_frame_modes": "fairlib.probing",
    "run_calls": "fairlib.executors",
    "local_processes": "fairlib.executors",
    "group_errors": "fairlib.bias",
    "group_bias": "fairlib.bias",
    "bias_differences": "fairlib.bias",
    "bias_error_association": "fairlib.association",
    "adjusted_gaps": "fairlib.adjustment",
    "smallest_gaps": "fairlib.power",
    "simulate_outcomes": "fairlib.simulation",
    "group_columns": "fairlib.bias",
    "layer_order": "fairlib.bias",
    "pretrain": "fairlib.pretraining",
    "finetune": "fairlib.finetuning",
}
__all__ = [*_HOME, "charts"]


def __getattr__(name: str):
    # Loaded when first asked for: torch takes seconds, and the command line's answers should not.
    if name == "charts":
        return import_module("fairlib.charts")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'fairlib' has no attribute {name!r}")
