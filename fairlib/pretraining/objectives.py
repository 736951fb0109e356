"""The families' tasks, on `transformers`' own model classes: each a module that gives a batch's loss and figures."""

from __future__ import annotations

import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy, normalize
from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2ForPreTraining, WavLMConfig, WavLMModel

from fairlib.devices import attention
from fairlib.encoders import encoder_folder
from fairlib.pretraining.recipe import Recipe, RecipeError


class MaskedPrediction(torch.nn.Module):
    """HuBERT and WavLM: name the cluster of every frame; masked frames count most."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        config_class, model_class = {
            "hubert": (HubertConfig, HubertModel),
            "wavlm": (WavLMConfig, WavLMModel),
        }[recipe.family]
        self.encoder = model_class(_config(config_class, recipe))
        self.head = torch.nn.Linear(self.encoder.config.hidden_size, recipe.targets.clusters)
        self.unmasked_weight = recipe.targets.unmasked_weight

    def forward(self, audio, targets, mask, progress):
        logits = self.head(self.encoder(audio, mask_time_indices=mask).last_hidden_state)
        losses = cross_entropy(logits.float().transpose(1, 2), targets, reduction="none")
        weight = torch.where(mask, 1.0, self.unmasked_weight)
        guesses = logits.detach().argmax(dim=-1)
        right = (guesses == targets).float()
        return (losses * weight).sum() / weight.sum(), {
            "masked_loss": losses.detach()[mask].mean(),
            "masked_accuracy": right[mask].mean(),
            "unmasked_accuracy": right[~mask].mean(),
            "codes_used": torch.tensor(float(guesses[mask].unique().numel())),
        }


class Contrastive(torch.nn.Module):
    """wav2vec 2.0: find the quantised features of a masked frame among those of other frames.

    From random convolutions, and in batches as small as a laptop's, the codes say nothing of the sound for hours: each
    waits for the other to make sense. So the convolutions may start from another encoder's.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.model = Wav2Vec2ForPreTraining(_config(Wav2Vec2Config, recipe))
        self.contrast = recipe.contrast
        if self.contrast.convolutions:
            weights = load_file(encoder_folder(self.contrast.convolutions) / "model.safetensors")
            part = "feature_extractor."
            weights = {name.removeprefix(part): tensor for name, tensor in weights.items() if name.startswith(part)}
            try:
                self.encoder.feature_extractor.load_state_dict(weights)
            except RuntimeError:
                raise RecipeError(
                    f"The convolutions of {self.contrast.convolutions} are not of the recipe's shape, so it cannot "
                    "start from them: give both the same conv_dim."
                ) from None

    @property
    def encoder(self) -> torch.nn.Module:
        return self.model.wav2vec2

    def forward(self, audio, targets, mask, progress):
        task = self.contrast
        self.model.set_gumbel_temperature(task.gumbel_start * (task.gumbel_end / task.gumbel_start) ** progress)
        output = self.model.wav2vec2(audio, mask_time_indices=mask)
        context = self.model.project_hid(output.last_hidden_state)
        codes, perplexity = self.model.quantizer(output.extract_features)
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
        contrastive = losses[mask].mean()
        right = (logits.detach().argmax(dim=2) == 0).float()
        codebook = self.model.config.num_codevectors_per_group * self.model.config.num_codevector_groups
        diversity = (codebook - perplexity) / codebook
        loss = contrastive + task.diversity_weight * diversity
        return loss, {
            "contrastive_loss": contrastive.detach(),
            "masked_accuracy": right[mask].mean(),
            "codes_used": perplexity.detach().float(),  # as a perplexity, both groups together
        }


def _config(config_class, recipe: Recipe):
    # Dropout and layer drop guard large models against small data; here the model is the small one.
    no_dropout = dict.fromkeys(
        ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "final_dropout"), 0.0
    )
    config = config_class(**no_dropout, layerdrop=0.0, **recipe.model)
    if attention(recipe.family):
        config._attn_implementation = attention(recipe.family)
    return config
