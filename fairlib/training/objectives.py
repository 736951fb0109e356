"""The families' tasks, on `transformers`' own model classes: each a module that gives a batch's loss and figures."""

from __future__ import annotations

import copy

import torch
from torch.nn.functional import cross_entropy, normalize
from transformers import HubertModel, Wav2Vec2Config, Wav2Vec2ForPreTraining, Wav2Vec2Model, WavLMModel

from fairlib.encoders import load_encoder
from fairlib.encoders.devices import attention
from fairlib.training.recipe import CONFIGURATIONS, NO_DROPOUT, Recipe, RecipeError


class MaskedPrediction(torch.nn.Module):
    """HuBERT and WavLM: name the cluster of every frame; masked frames count most."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        assert recipe.targets  # as `Recipe` demands of this family
        self.encoder = _network(recipe)
        self.head = torch.nn.Linear(self.encoder.config.hidden_size, recipe.targets.clusters)
        self.targets = recipe.targets

    def forward(self, audio, targets, mask, progress):
        logits = self.head(in_context(self.encoder, self.encoder.feature_extractor(audio), mask))
        losses = cross_entropy(logits.float().transpose(1, 2), targets, reduction="none")
        weight = torch.where(mask, 1.0, self.targets.weight_at(progress))
        guesses = logits.detach().argmax(dim=-1)
        right = (guesses == targets).float()
        guessed = torch.zeros(self.targets.clusters, device=mask.device)
        guessed.scatter_add_(0, guesses.flatten(), mask.flatten().float())
        return (losses * weight).sum() / weight.sum(), {
            "masked_loss": _mean_where(mask, losses.detach()),
            "masked_accuracy": _mean_where(mask, right),
            "unmasked_accuracy": _mean_where(~mask, right),
            "codes_used": (guessed > 0).sum().float(),
        }


class Contrastive(torch.nn.Module):
    """wav2vec 2.0: find the quantised features of a masked frame among those of other frames.

    From random convolutions, and in batches as small as a laptop's, the codes say nothing of the sound for hours: each
    waits for the other to make sense. So the convolutions may start from another encoder's.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        assert recipe.contrast
        self.model = Wav2Vec2ForPreTraining(_config(Wav2Vec2Config, recipe))
        self.model.wav2vec2 = _network(recipe)
        self.contrast = recipe.contrast
        if self.contrast.convolutions:
            _start_convolutions(self.encoder, self.contrast.convolutions)

    @property
    def encoder(self) -> torch.nn.Module:
        return self.model.wav2vec2

    def forward(self, audio, targets, mask, progress):
        task = self.contrast
        self.model.set_gumbel_temperature(task.gumbel_start * (task.gumbel_end / task.gumbel_start) ** progress)
        convolved = self.encoder.feature_extractor(audio)
        context = self.model.project_hid(in_context(self.encoder, convolved, mask))
        codes, perplexity = self.model.quantizer(self.encoder.feature_projection.layer_norm(convolved.transpose(1, 2)))
        codes = normalize(self.model.project_q(codes.to(context.dtype)).float(), dim=-1)
        context = normalize(context.float(), dim=-1)

        batch, frames = mask.shape
        # Others of the same utterance, never the frame itself.
        others = torch.randint(frames - 1, (batch, frames, task.negatives), device=mask.device)
        others += others >= torch.arange(frames, device=mask.device)[:, None]
        with torch.autocast(
            mask.device.type, enabled=False
        ):  # half precision could not tell like codes from equal ones
            similar = context @ codes.transpose(1, 2) / task.temperature
            same = codes.detach() @ codes.detach().transpose(1, 2) > 1 - 1e-5
        logits = torch.cat([similar.diagonal(dim1=1, dim2=2)[:, :, None], similar.gather(2, others)], dim=2)
        # The very same code is no wrong answer.
        logits[:, :, 1:] = logits[:, :, 1:].masked_fill(same.gather(2, others), -torch.inf)
        losses = -logits.log_softmax(dim=-1)[:, :, 0]
        contrastive = _mean_where(mask, losses)
        right = (logits.detach().argmax(dim=2) == 0).float()
        codebook = self.model.config.num_codevectors_per_group * self.model.config.num_codevector_groups
        diversity = (codebook - perplexity) / codebook
        loss = contrastive + task.diversity_weight * diversity
        if task.feature_penalty:
            loss = loss + task.feature_penalty * convolved.float().square().mean()
        return loss, {
            "contrastive_loss": contrastive.detach(),
            "masked_accuracy": _mean_where(mask, right),
            "codes_used": perplexity.detach().float(),  # as a perplexity, both groups together
        }


class SelfDistillation(torch.nn.Module):
    """data2vec (Baevski et al. 2022): what a slowly moving copy of the encoder makes of the whole utterance is the
    target of its masked frames. Nobody else's features are needed.

    The copy has the transformer alone; both hear through the same convolutions.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        assert recipe.distillation
        self.encoder = _network(recipe)
        self.task = recipe.distillation
        if self.task.top_blocks > self.encoder.config.num_hidden_layers:
            raise RecipeError(
                f"distillation.top_blocks is {self.task.top_blocks}; the encoder has "
                f"{self.encoder.config.num_hidden_layers} blocks."
            )
        if self.task.convolutions:
            _start_convolutions(self.encoder, self.task.convolutions)
        width = self.encoder.config.hidden_size
        self.head = torch.nn.Sequential(
            torch.nn.Linear(width, 2 * width), torch.nn.GELU(), torch.nn.Linear(2 * width, width)
        )
        self.projection = copy.deepcopy(self.encoder.feature_projection).requires_grad_(False)
        self.teacher = copy.deepcopy(self.encoder.encoder).requires_grad_(False)
        self._blocks: list[torch.Tensor] = []
        for block in self.teacher.layers[-self.task.top_blocks :]:
            block.register_forward_hook(lambda _block, _given, made: self._blocks.append(_first(made)))

    def forward(self, audio, targets, mask, progress):
        self._follow(progress)
        convolved = self.encoder.feature_extractor(audio)
        with torch.no_grad():
            self.teacher(self.projection(convolved.transpose(1, 2))[0])
            wanted = _over_time(sum(_over_time(block.float()) for block in self._blocks))
            self._blocks.clear()
        guessed = self.head(in_context(self.encoder, convolved, mask)).float()
        loss = _mean_where(mask, (guessed - wanted).square().mean(dim=-1))
        within = guessed.detach().std(dim=1).mean()
        # Of the target's variance over time, which is 1: nothing is learnt at 0.
        return loss, {"explained": 1 - loss.detach(), "spread_of_guesses": within}

    @torch.no_grad()
    def _follow(self, progress: float) -> None:
        task = self.task
        risen = min(1.0, progress / task.decay_rise)
        decay = task.decay_start + (task.decay_end - task.decay_start) * risen
        for mine, of in ((self.projection, self.encoder.feature_projection), (self.teacher, self.encoder.encoder)):
            for one, other in zip(mine.parameters(), of.parameters()):
                one.lerp_(other, 1 - decay)


def in_context(encoder: torch.nn.Module, convolved: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What the transformer makes ``[B, T, D]`` of convolved speech ``[B, C, T]`` whose masked frames it does not see.

    As the model itself does it, but for a GPU, which the model's own way of masking has wait for the processor.
    """
    hidden = _first(encoder.feature_projection(convolved.transpose(1, 2)))
    hidden = torch.where(mask[:, :, None], encoder.masked_spec_embed.to(hidden.dtype), hidden)
    return encoder.encoder(hidden).last_hidden_state


def _mean_where(mask: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return (values * mask).sum() / mask.sum()


def _first(made: torch.Tensor | tuple) -> torch.Tensor:
    return made[0] if isinstance(made, tuple) else made


def _over_time(frames: torch.Tensor) -> torch.Tensor:
    """Each feature of ``[B, T, D]`` at zero mean and unit variance over its utterance."""
    return (frames - frames.mean(dim=1, keepdim=True)) / (frames.std(dim=1, keepdim=True) + 1e-4)


def _start_convolutions(encoder: torch.nn.Module, name: str) -> None:
    """Begin with another encoder's convolutions."""
    with torch.random.fork_rng(devices=[]):  # the weights drawn after these are the recipe's seed's
        convolutions = getattr(load_encoder(name, "cpu").model, "feature_extractor", None)
    if convolutions is None:
        raise RecipeError(
            f"{name} has no convolutions to start from: give an encoder of wav2vec 2.0's kind, shipped, a folder or "
            "from the hub."
        )
    try:
        encoder.feature_extractor.load_state_dict(convolutions.state_dict())
    except RuntimeError:
        raise RecipeError(
            f"The convolutions of {name} are not of the recipe's shape, so it cannot start from them: give both the "
            "same conv_dim."
        ) from None


def _network(recipe: Recipe) -> torch.nn.Module:
    """The encoder that is trained: its family's own network, or the one that the recipe names."""
    kind = recipe.network or recipe.family
    return _NETWORKS[kind](_config(CONFIGURATIONS[kind], recipe))


def _config(config_class, recipe: Recipe):
    config = config_class(**NO_DROPOUT, **recipe.model)
    if attention(config.model_type):
        config._attn_implementation = attention(config.model_type)
    return config


_NETWORKS = {
    "hubert": HubertModel, "wavlm": WavLMModel, "wav2vec2": Wav2Vec2Model, "data2vec": Wav2Vec2Model
}  # fmt: skip


OBJECTIVES = {
    "hubert": MaskedPrediction, "wavlm": MaskedPrediction, "wav2vec2": Contrastive, "data2vec": SelfDistillation
}  # fmt: skip
