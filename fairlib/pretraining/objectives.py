"""The families' tasks, on `transformers`' own model classes: each a module that gives a batch's loss and figures."""

from __future__ import annotations

import torch
from torch.nn.functional import cosine_similarity, cross_entropy
from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2ForPreTraining, WavLMConfig, WavLMModel

from fairlib.pretraining.recipe import Recipe


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
    """wav2vec 2.0: find the quantised features of a masked frame among those of other masked frames."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.model = Wav2Vec2ForPreTraining(_config(Wav2Vec2Config, recipe))
        self.contrast = recipe.contrast

    @property
    def encoder(self) -> torch.nn.Module:
        return self.model.wav2vec2

    def forward(self, audio, targets, mask, progress):
        task = self.contrast
        self.model.set_gumbel_temperature(task.gumbel_start * (task.gumbel_end / task.gumbel_start) ** progress)
        output = self.model.wav2vec2(audio, mask_time_indices=mask)
        context = self.model.project_hid(output.last_hidden_state)
        codes, perplexity = self.model.quantizer(output.extract_features, mask_time_indices=mask)
        codes = self.model.project_q(codes.to(context.dtype))

        losses, right, count = [], 0.0, 0
        for c, q, m in zip(context, codes, mask, strict=True):
            c, q = c[m].float(), q[m].float()
            if len(q) < 2:
                continue
            # Others of the same utterance, never the frame itself.
            others = torch.randint(len(q) - 1, (len(q), task.negatives), device=q.device)
            others += others >= torch.arange(len(q), device=q.device)[:, None]
            candidates = torch.cat([q[:, None], q[others]], dim=1)
            logits = cosine_similarity(c[:, None], candidates, dim=-1) / task.temperature
            same = (candidates[:, 1:] == q[:, None]).all(-1)  # the very same code is no wrong answer
            logits = torch.cat([logits[:, :1], logits[:, 1:].masked_fill(same, -torch.inf)], dim=1)
            losses.append(
                cross_entropy(logits, torch.zeros(len(q), dtype=torch.long, device=q.device), reduction="sum")
            )
            right += (logits.detach().argmax(dim=1) == 0).float().sum()
            count += len(q)
        contrastive = torch.stack(losses).sum() / count
        codebook = self.model.config.num_codevectors_per_group * self.model.config.num_codevector_groups
        diversity = (codebook - perplexity) / codebook
        loss = contrastive + task.diversity_weight * diversity
        return loss, {
            "contrastive_loss": contrastive.detach(),
            "masked_accuracy": right / count,
            "codes_used": perplexity.detach().float(),  # as a perplexity, both groups together
        }


def _config(config_class, recipe: Recipe):
    # Dropout and layer drop guard large models against small data; here the model is the small one.
    no_dropout = dict.fromkeys(
        ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "final_dropout"), 0.0
    )
    config = config_class(**no_dropout, layerdrop=0.0, **recipe.model)
    if recipe.family != "wavlm":  # it has one attention of its own
        # On a processor, at this width and length, the plain attention is half as long under way as the fused one.
        config._attn_implementation = "sdpa" if torch.cuda.is_available() else "eager"
    return config
