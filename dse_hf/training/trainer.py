"""`transformers.Trainer` for separation models."""

import torch
from transformers import Trainer

from .. import metrics
from ..models.modeling_waveunet import center_crop
from .losses import WeightedLoss


class SeparationTrainer(Trainer):
    """Computes the losses of `args.losses` on the model's sources, and SI-SDR on the validation windows."""

    def __init__(self, *args, **kwargs):
        super().__init__(
            *args,
            preprocess_logits_for_metrics=_foreground_and_mixture,
            compute_metrics=_si_sdr_improvement,
            **kwargs,
        )
        self.loss = WeightedLoss(self.args.losses, self.model.config.sampling_rate)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs["labels"]  # (B, K, C, T)
        outputs = model(input_values=inputs["input_values"])
        labels = center_crop(labels, outputs.sources.shape[-1])
        loss = self.loss(outputs.sources, labels)
        outputs = {"loss": loss, "sources": outputs.sources, "mixture": outputs.mixture}
        return (loss, outputs) if return_outputs else loss


def _foreground_and_mixture(logits, labels):
    """Keeps what the metrics need: the estimated foreground, and the mixture, (B, 2, C, T')."""
    sources, mixture = logits
    return torch.stack([sources[:, 0], mixture], dim=1).float()


def _si_sdr_improvement(prediction) -> dict[str, float]:
    """Mean SI-SDR of the foreground, and its improvement over the mixture, in dB, over windows with speech."""
    estimate, mixture = torch.as_tensor(prediction.predictions).unbind(dim=1)
    reference = center_crop(torch.as_tensor(prediction.label_ids), estimate.shape[-1])[:, 0]
    audible = reference.square().mean(dim=(-1, -2)) > 1e-8
    after = metrics.si_sdr(estimate[audible], reference[audible])
    before = metrics.si_sdr(mixture[audible], reference[audible])
    return {"si_sdr": after.mean().item(), "si_sdr_improvement": (after - before).mean().item()}
