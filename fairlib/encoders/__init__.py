"""Encoders: from a name to every layer's frames, on any device, for a whole corpus.

`catalogue` (which encoders there are), `checkpoints` (their files and fingerprints), `loading` and `families` (forward
passes), `devices`, `extraction` (a corpus in one pass), `features` (what the pass leaves on disk), `workers` (several
processes).
"""

from fairlib.encoders.catalogue import (
    configuration,
    encoder_layers,
    finetuned_from,
    heard,
    logmel_as_wide,
    pretraining_data,
    pretraining_log,
    pretraining_task,
    published_steps,
    started_from,
)
from fairlib.encoders.checkpoints import (
    BATCHED,
    CHECKPOINTS,
    CONVOLUTIONAL,
    HUB_ID,
    LOGMEL,
    LOGMEL_AROUND,
    RANDOM_SEED,
    SHIPPED,
    SUPPORTED,
    EncoderError,
    check_folder,
    encoder_fingerprint,
    encoder_folder,
    model_family,
    preprocessing,
    pretraining_folder,
    read_json,
    settings_of,
    shipped_encoders,
    weight_files,
)
from fairlib.encoders.loading import (
    Encoder,
    load_encoder,
    quiet_transformers,
)

__all__ = [
    "BATCHED",
    "CHECKPOINTS",
    "CONVOLUTIONAL",
    "Encoder",
    "EncoderError",
    "HUB_ID",
    "LOGMEL",
    "LOGMEL_AROUND",
    "RANDOM_SEED",
    "SHIPPED",
    "SUPPORTED",
    "check_folder",
    "configuration",
    "encoder_fingerprint",
    "encoder_folder",
    "encoder_layers",
    "finetuned_from",
    "heard",
    "load_encoder",
    "logmel_as_wide",
    "model_family",
    "preprocessing",
    "pretraining_data",
    "pretraining_folder",
    "pretraining_log",
    "pretraining_task",
    "published_steps",
    "quiet_transformers",
    "read_json",
    "settings_of",
    "shipped_encoders",
    "started_from",
    "weight_files",
]
