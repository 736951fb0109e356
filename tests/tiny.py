"""What tests of extraction encode: a tiny random encoder and a corpus of short noises."""

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
from transformers import HubertConfig, HubertModel

from fairlib.encoders import Encoder, load_encoder


def save_tiny(folder: Path, layers: int = 2, seed: int = 0) -> None:
    """A HuBERT of this many blocks, with random weights."""
    torch.manual_seed(seed)
    HubertModel(
        HubertConfig(
            hidden_size=16,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=16,
            conv_dim=(8,) * 7,
            num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=2,
        )
    ).save_pretrained(folder)


def tiny_encoder(folder: Path) -> Encoder:
    save_tiny(folder)
    return load_encoder(str(folder), device="cpu")


def noises(folder: Path, number: int = 11) -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for row in range(number):
        samples = int(rng.integers(4000, 20000))
        path = folder / f"u{row:02d}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(samples), 16000)
        rows.append((f"u{row:02d}", str(path), samples / 16000))
    return pd.DataFrame(rows, columns=["utterance_id", "path", "duration_s"])
