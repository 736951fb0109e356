"""Fine-tuning a pretrained encoder for speech recognition: CTC over characters, convolutions frozen.

As in wav2vec 2.0's and HuBERT's own recipes, a linear layer is put on top and everything but the convolutions is
trained. Frozen convolutions give each utterance the same features every time, so they are computed once.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm
from transformers import AutoConfig, AutoModelForCTC, PretrainedConfig, Wav2Vec2CTCTokenizer

from fairlib.base.files import replace
from fairlib.corpora import CORPORA, corpus_fingerprint, halves, is_own, load_corpus, require_text
from fairlib.corpora.audio import read_audio
from fairlib.corpora.hub import is_on_hub
from fairlib.encoders import check_folder, encoder_fingerprint, encoder_folder, quiet_transformers
from fairlib.encoders.checkpoints import read_json
from fairlib.encoders.devices import attention, best_device, exact_grouped_convolutions
from fairlib.encoders.extraction import length_batches
from fairlib.encoders.families import normalised, normalises
from fairlib.encoders.names import is_logmel, is_untrained
from fairlib.probes.text import count_errors, greedy_text
from fairlib.probes.transcripts import transcripts
from fairlib.training.batches import span_mask
from fairlib.training.loop import (
    Schedule,
    claimed,
    save_array,
    save_transformers,
    train,
    training_hours,
)

ALPHABET = " 'ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CODES = {character: code for code, character in enumerate(ALPHABET, start=1)}  # 0 is CTC's blank
SECONDS_PER_STEP = 32
MASK_SHARE, MASK_SPAN = 0.1, 10  # SpecAugment over time, as in the original recipes
SCHEDULE = Schedule(
    steps=2000, learning_rate=1e-3, warm_up_steps=200, decay_share=0.5, weight_decay=0.01, gradient_clip=1.0
)


class FinetuningError(ValueError):
    """An encoder cannot be fine-tuned as asked; the message says why."""


@dataclass(frozen=True)
class _Speech:
    features: np.ndarray  # float16 [frames, channels], memory-mapped
    starts: np.ndarray  # int64 [utterances + 1]
    texts: list[str]

    def batch(self, rows: np.ndarray | list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        lengths = np.diff(self.starts)[rows]
        # Whole multiples of two seconds: few shapes, for which a processor's kernels are compiled once.
        padded = torch.zeros(len(rows), -(-int(lengths.max()) // 100) * 100, self.features.shape[1])
        for position, row in enumerate(rows):
            part = self.features[self.starts[row] : self.starts[row + 1]]
            padded[position, : len(part)] = torch.from_numpy(part.astype(np.float32))
        return padded, torch.from_numpy(lengths)


def finetune(encoder: str, corpus: str, output: str | Path, seed: int = 0, schedule: Schedule = SCHEDULE) -> Path:
    """Fine-tune an encoder on the train half of a corpus and save it, with its CTC layer, at ``output/encoder``.

    ``output`` also keeps the convolutions' features, ``checkpoint.pt`` and ``training.csv``; called again after a stop,
    it goes on from the last checkpoint. The character error on the corpus's test half is written beside the weights.

    Args:
        encoder: of a family with a CTC model in `transformers`: wav2vec 2.0, HuBERT, WavLM and their like.
        corpus: name of a corpus with transcripts; utterances whose words cannot be known are left out with a warning.
        output: the folder of the run.
        seed: of the weights added and of the order of speech; 0.
        schedule: 2000 steps at a learning rate of up to 0.001.

    Returns:
        The encoder's folder.

    Raises:
        FinetuningError: the encoder is not a trained one or its family has no CTC model, a transcript has a letter
            beyond A to Z, or a half has no usable transcript.
        fairlib.encoders.EncoderError: there is no such encoder, or its weights are not there.
        fairlib.training.loop.RunError: ``output`` holds another run, or another process trains in it.
        fairlib.corpora.CorpusError: the corpus has no transcripts.
        fairlib.training.loop.TrainingError: the loss, or its gradient, is not a finite number.

    Example:
        >>> folder = finetune("pocket-hubert-it1", "librispeech", "my-recogniser")  # doctest: +SKIP
    """
    output = Path(output)
    folder, config = _tunable(encoder)
    encoder, corpus = _wherever(encoder, folder, corpus)
    table = load_corpus(corpus)
    require_text(table)
    texts = _spelt(table)
    usable, normalise = texts != "", normalises(folder, config)
    fingerprint = encoder_fingerprint(encoder)
    run = {"finetuned_from": encoder, "finetuned_from_fingerprint": fingerprint, "corpus": corpus, "seed": seed}
    run |= {"corpus_fingerprint": corpus_fingerprint(table), "schedule": schedule.model_dump()}
    run |= {"normalised": True} if normalise else {}  # earlier editions heard such waveforms as they are
    with claimed(output, json.dumps(run, indent=1)):
        device = torch.device(best_device())
        torch.manual_seed(seed)
        model = _ctc_model(folder, config, device)
        half, parts = halves(table), {}
        for name in ("train", "test"):
            rows = usable & (half == name).to_numpy()
            paths = table.loc[rows, "path"]
            parts[name] = _convolve(model, paths, texts[rows], output / f"{name}.float16", normalise)

        speech = parts["train"]
        batches = length_batches(np.diff(speech.starts), SECONDS_PER_STEP * 50)

        def loss_of(step: int):
            epoch, index = divmod(step - 1, len(batches))
            rows = batches[np.random.default_rng([seed, 0, epoch]).permutation(len(batches))[index]]
            features, lengths = speech.batch(rows)
            rng = np.random.default_rng([seed, 1, step])
            mask = span_mask(tuple(features.shape[:2]), MASK_SHARE, MASK_SPAN, rng)
            log_probs = _log_probs(model, features, lengths, mask)
            targets = [torch.tensor([CODES[c] for c in speech.texts[row]]) for row in rows]
            target_lengths = torch.tensor([len(target) for target in targets])
            loss = torch.nn.functional.ctc_loss(
                log_probs.transpose(0, 1), torch.cat(targets).to(device), lengths, target_lengths,
                reduction="none", zero_infinity=True,  # a text longer than its frames teaches nothing
            ).sum() / target_lengths.sum()  # fmt: skip
            return loss, float(lengths.sum()) / 50, {}

        log = train(output.name, model, loss_of, schedule, seed, output)
        errors = _test_errors(model, parts["test"])
        saved = output / "encoder"
        save_transformers(model, saved, normalise)
        _save_vocabulary(saved)
        heard_s = float(table.loc[usable & (half == "train"), "duration_s"].sum())
        made = {"hours_of_speech": round(heard_s / 3600, 2), "device": device.type}
        _write_record(saved, run | made | {"test_character_error": round(errors, 4)}, log)
        return saved


def _write_record(folder: Path, known: dict, log: pd.DataFrame) -> None:
    """What is known of a fine-tuning, and its log, beside the weights."""
    record = known | {"hours_heard": round(log["hours_heard"].iloc[-1], 1), "training_hours": training_hours(log)}
    replace(folder / "finetuning.json", lambda path: path.write_text(json.dumps(record, indent=1)))
    replace(folder / "training.csv", lambda path: log.round(4).to_csv(path, index=False))


def _tunable(encoder: str) -> tuple[Path, PretrainedConfig]:
    """Folder and settings of an encoder that can be fine-tuned; another is refused here, before any long work."""
    if is_logmel(encoder) or is_untrained(encoder):
        raise FinetuningError(
            f"{encoder} has no trained weights to fine-tune: give a shipped encoder, a folder, or a hub id."
        )
    folder = encoder_folder(encoder)
    family = read_json(folder / "config.json").get("model_type")
    if family not in ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat"):
        raise FinetuningError(f"{encoder} is of the family {family}, for which fine-tuning is not made.")
    check_folder(folder)
    return folder, AutoConfig.from_pretrained(folder, trust_remote_code=False)


def _wherever(encoder: str, folder: Path, corpus: str) -> tuple[str, str]:
    """Encoder and corpus as the record names them: what lies on this machine is found from any other folder too."""
    if folder == Path(os.path.expanduser(encoder)):
        encoder = str(folder.resolve())
    if corpus not in CORPORA and is_own(corpus) and not is_on_hub(corpus):
        corpus = os.path.abspath(os.path.expanduser(corpus))  # a link need not point to a name with an extension
    return encoder, corpus


def _ctc_model(folder: Path, config: PretrainedConfig, device: torch.device) -> torch.nn.Module:
    """The encoder with a new CTC layer; its convolutions stay as they are."""
    options = {"vocab_size": len(ALPHABET) + 1, "pad_token_id": 0, "dtype": torch.float32}
    if config.mask_time_prob == 0:  # without it the model has nothing to put where frames are masked
        options["mask_time_prob"] = MASK_SHARE
    with quiet_transformers():
        model = AutoModelForCTC.from_pretrained(
            folder, trust_remote_code=False, attn_implementation=attention(config.model_type), **options
        ).to(device)
    model.freeze_feature_encoder()
    if device.type == "cpu":
        exact_grouped_convolutions(model)
    return model


def _spelt(table: pd.DataFrame) -> np.ndarray:
    """Every utterance's text in the letters of `ALPHABET`, empty where it cannot be used; refused here, before any long
    work, where a letter is another or a half has none."""
    texts = np.array(transcripts(table).texts, dtype=object)
    for row, text in zip(table.itertuples(), texts, strict=True):
        foreign = sorted(set(text) - set(CODES))
        if foreign:
            raise FinetuningError(
                f"The transcript of {row.utterance_id} in {row.corpus} has {', '.join(map(repr, foreign))}, which is "
                f"not among A to Z: {row.text!r}."
            )
    for name in ("train", "test"):
        if not (texts[halves(table) == name] != "").any():
            raise FinetuningError(f"No transcript in the {name} half of {table['corpus'].iloc[0]} can be used.")
    return texts


def _convolve(model: torch.nn.Module, paths: pd.Series, texts: np.ndarray, path: Path, normalise: bool) -> _Speech:
    """The frozen convolutions' features of every utterance, computed once, kept in half precision."""
    starts_file = path.with_suffix(".npy")
    if not starts_file.exists():
        lengths = [0]

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file, torch.inference_mode():
                for audio in tqdm(paths, desc="convolutions", mininterval=5, unit="utt", disable=None):
                    samples = read_audio(audio)
                    samples = torch.from_numpy(normalised(samples) if normalise else samples)[None].to(model.device)
                    features = model.base_model.feature_extractor(samples)[0].T.half().cpu().numpy()
                    features.tofile(file)
                    lengths.append(len(features))

        replace(path, write)
        save_array(starts_file, np.cumsum(lengths))
    features = np.memmap(path, np.float16, "r").reshape(-1, model.config.conv_dim[-1])
    return _Speech(features, np.load(starts_file), list(texts))


def _log_probs(model, features: torch.Tensor, lengths: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Log probabilities of the characters, ``[B, T, 1 + letters]``, from the convolutions' features."""
    base, device = model.base_model, model.device
    features, lengths = features.to(device, non_blocking=True), lengths.to(device)
    there = torch.arange(features.shape[1], device=device)[None] < lengths[:, None]
    hidden = base.feature_projection(features)
    hidden = hidden[0] if isinstance(hidden, tuple) else hidden
    if mask is not None:
        # As the model itself does it, but for one whose settings (apply_spec_augment) leave its masks out.
        hidden[mask.to(device)] = base.masked_spec_embed.to(hidden.dtype)
    hidden = base.encoder(hidden, attention_mask=there).last_hidden_state
    return model.lm_head(hidden).float().log_softmax(dim=-1)


def _test_errors(model, speech: _Speech) -> float:
    """Character error of greedy decoding."""
    model.eval()
    hypotheses = {}
    with torch.inference_mode():
        for rows in length_batches(np.diff(speech.starts), SECONDS_PER_STEP * 50):
            features, lengths = speech.batch(rows)
            best = _log_probs(model, features, lengths, None).argmax(dim=-1).cpu().numpy()
            for path, length, row in zip(best, lengths.tolist(), rows, strict=True):
                hypotheses[int(row)] = greedy_text(path[:length], ALPHABET)
    counts = count_errors(speech.texts, [hypotheses[row] for row in range(len(speech.texts))], "char")
    return float(counts["errors"].sum() / counts["length"].sum())


def _save_vocabulary(folder: Path) -> None:
    """What `transformers.AutoProcessor` needs to turn scores into text."""
    words = {"<pad>": 0} | {"|" if character == " " else character: code for character, code in CODES.items()}
    (folder / "vocab.json").write_text(json.dumps(words, indent=1))
    Wav2Vec2CTCTokenizer(
        folder / "vocab.json", pad_token="<pad>", unk_token="<pad>", bos_token=None, eos_token=None
    ).save_pretrained(folder)
