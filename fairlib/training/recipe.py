"""Recipes: text files that say what an encoder is pretrained on, for which task, and how long."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from transformers import HubertConfig, Wav2Vec2Config, WavLMConfig

from fairlib.base.files import ASSETS
from fairlib.training.loop import Schedule

RECIPES = ASSETS / "recipes"
SHORTEST_CROP_S = 2  # of speech; an utterance that is shorter is not heard
CONFIGURATIONS = {
    "hubert": HubertConfig, "wavlm": WavLMConfig, "wav2vec2": Wav2Vec2Config, "data2vec": Wav2Vec2Config
}  # fmt: skip
# Dropout and layer drop guard large models against small data; here the model is the small one.
NO_DROPOUT = dict.fromkeys(
    ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "final_dropout", "layerdrop"),
    0.0,
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Data(_Part):
    """Speech of one corpus: all of it or its train half (see `halves`), up to so many hours."""

    corpus: str
    split: Literal["all", "train"] = "all"
    hours: float | None = Field(default=None, gt=0)


class Targets(_Part):
    """What masked frames are to be recognised as: clusters of MFCC, or of one layer of an earlier encoder."""

    features: str
    layer: str | None = None
    smoothing_frames: int = Field(default=1, gt=0)  # of MFCC frames, 10 ms apart
    clusters: int = Field(gt=1, le=2000)
    # Of unmasked frames in the loss. Where it falls to an end, it does so evenly between these shares of the steps:
    # with no unmasked frames from the start nothing is learnt; with them to the end, much of the loss is paid without
    # any context.
    unmasked_weight: float = Field(ge=0)
    unmasked_weight_end: float | None = Field(default=None, ge=0)
    unmasked_fall: tuple[float, float] = (0.1, 0.5)

    def weight_at(self, progress: float) -> float:
        """The weight of unmasked frames after a share of the steps.

        Example:
            >>> t = Targets(features="mfcc", clusters=64, unmasked_weight=0.5, unmasked_weight_end=0.1)
            >>> t.weight_at(0.05), round(t.weight_at(0.3), 3), t.weight_at(0.9)
            (0.5, 0.3, 0.1)
        """
        if self.unmasked_weight_end is None:
            return self.unmasked_weight
        first, last = self.unmasked_fall
        done = min(1.0, max(0.0, (progress - first) / (last - first)))
        return (1 - done) * self.unmasked_weight + done * self.unmasked_weight_end


class Mixing(_Part):
    """WavLM's inputs: with this chance, another utterance or noise covers up to half of an utterance."""

    share: float = Field(gt=0, le=1)
    noise_share: float = Field(ge=0, le=1)


class Contrast(_Part):
    """wav2vec 2.0's task: tell a masked frame's code from codes of other frames of the utterance."""

    negatives: int = Field(gt=0)
    temperature: float = Field(gt=0)
    diversity_weight: float = Field(ge=0)
    feature_penalty: float = Field(default=0.0, ge=0)  # on the mean square of what the convolutions give
    convolutions: str | None = None  # encoder from which the convolutions start
    gumbel_start: float = Field(gt=0)
    gumbel_end: float = Field(gt=0)


class Distillation(_Part):
    """data2vec's task: name what a slowly moving copy of the encoder makes of the unmasked speech."""

    top_blocks: int = Field(gt=0)  # whose mean is the target, each normalised over time
    decay_start: float = Field(gt=0, lt=1)  # of the copy, at each batch; rises evenly
    decay_end: float = Field(gt=0, lt=1)
    decay_rise: float = Field(gt=0, le=1)  # over this share of the steps
    convolutions: str | None = None  # encoder from which the convolutions start


class Batches(_Part):
    """Crops of `SHORTEST_CROP_S` up to ``longest_crop_s`` whole seconds, equally long within a batch."""

    seconds: int = Field(ge=SHORTEST_CROP_S)
    longest_crop_s: int = Field(ge=SHORTEST_CROP_S)
    mask_share: float = Field(gt=0, lt=1)
    mask_span: int = Field(gt=0)
    per_step: int = Field(default=1, gt=0)  # batches whose gradients are added up before the weights move


class Augmentation(_Part):
    """Speech changed at every hearing, so that a small corpus is not heard the same way twice."""

    share: float = Field(gt=0, le=1)  # of the batches
    speeds: tuple[float, ...] = ()  # one is drawn: tempo and pitch together; targets move with the sound
    snr_db: tuple[float, float] | None = None  # noise, white or falling with frequency, under the speech


class Recipe(_Part):
    name: str
    family: Literal["hubert", "wavlm", "wav2vec2", "data2vec"]  # whose task it is
    network: Literal["hubert", "wavlm", "wav2vec2"] | None = None  # whose network; the family's own by default
    seed: int = Field(ge=0)
    data: list[Data] = Field(min_length=1)
    targets: Targets | None = None
    mixing: Mixing | None = None
    augmentation: Augmentation | None = None
    contrast: Contrast | None = None
    distillation: Distillation | None = None
    batches: Batches
    schedule: Schedule
    model: dict

    @model_validator(mode="after")
    def _parts_fit_family(self) -> Recipe:
        needed = {
            "hubert": {"targets"}, "wavlm": {"targets", "mixing"},
            "wav2vec2": {"contrast"}, "data2vec": {"distillation"},
        }  # fmt: skip
        wanted = needed[self.family]
        there = {part for part in set().union(*needed.values()) if getattr(self, part) is not None}
        if there != wanted:
            raise ValueError(f"{self.family} needs the parts {sorted(wanted)}, not {sorted(there)}")
        if self.targets and self.targets.features != "mfcc" and self.targets.layer is None:
            raise ValueError("targets from an encoder need its layer")
        return self

    @model_validator(mode="after")
    def _model_is_known(self) -> Recipe:
        # transformers would take any name, and a misspelt one would leave the network at its default.
        classes = [CONFIGURATIONS[self.network or self.family], *([Wav2Vec2Config] if self.contrast else [])]
        known = {name for one in classes for name in vars(one()) if not name.startswith("_")} - set(NO_DROPOUT)
        for name in self.model:
            if name in NO_DROPOUT:
                raise ValueError(f"model.{name} cannot be chosen: it is 0 in all recipes, so leave it out")
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f", did you mean {near[0]!r}?" if near else ":"
                raise ValueError(
                    f"there is no model.{name}{hint} allowed are the settings of transformers.{classes[0].__name__}"
                )
        return self


class RecipeError(ValueError):
    """A recipe cannot be read or has a wrong key or value; the message names it."""


def read_recipe(recipe: str | Path) -> Recipe:
    """Read and check a recipe: a TOML file, or the name of a shipped one.

    Raises:
        RecipeError: no such recipe, no TOML in UTF-8, an unknown key or a value out of range.

    Example:
        >>> read_recipe("pocket-hubert").family
        'hubert'
    """
    path = Path(recipe)
    if not path.exists() and (RECIPES / f"{recipe}.toml").exists():
        path = RECIPES / f"{recipe}.toml"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in RECIPES.glob("*.toml")))
        raise RecipeError(f"There is no recipe {str(recipe)!r}: give a TOML file or one of {shipped}.")
    try:
        return Recipe(**tomllib.loads(path.read_text(encoding="utf-8")))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path} is not valid TOML: {error}.") from None
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, p['loc']))}: {p['msg'][0].lower()}{p['msg'][1:]}".removeprefix(": ")
            for p in error.errors()
        )
        raise RecipeError(f"{path}: {problems}.") from None
