"""Takes the biases out of a Wave-U-Net little by little, so that its weights learn to do without them."""

import torch
from torch import nn
from transformers import TrainerCallback


class BiasFading(TrainerCallback):
    """Multiplies the biases of a Wave-U-Net by a factor that falls from 1 to 0 in the first `steps` steps.

    The biases do not learn meanwhile. After that the model has no biases and `bias=False` in its config: twice the
    input then gives twice the output (Mohan et al. 2020). A network whose biases are dropped at once has to learn much
    anew. The factor depends on the number of the step only, so a run continues from any checkpoint.

    Args:
        model ([`WaveUNetModel`]): a model with biases, or one from a later checkpoint.
        steps (`int`): number of steps, at least 1.

    Raises:
        ValueError: the model is no Wave-U-Net, or its output is not linear.
    """

    def __init__(self, model, steps: int):
        config = model.config
        if getattr(config, "output_activation", None) != "linear":
            raise ValueError(
                f"bias_fading_steps={steps}: works for a Wave-U-Net with output_activation 'linear'; the model is a "
                f"{config.model_type} with output_activation {getattr(config, 'output_activation', None)!r}"
            )
        self.model, self.steps = model, steps
        for bias in self._biases():
            bias.requires_grad_(False)

    def on_step_begin(self, args, state, control, **kwargs):
        left = self.steps - state.global_step  # steps with biases, with this one
        if left > 0:
            with torch.no_grad():
                for bias in self._biases():
                    bias.mul_((left - 1) / left)
        elif self.model.config.bias:
            self.drop_biases()

    def on_train_end(self, args, state, control, **kwargs):
        if self.model.config.bias and state.global_step >= self.steps:
            self.drop_biases()

    def drop_biases(self) -> None:
        for module in self._convolutions():
            module.bias = None
        self.model.config.bias = False

    def _biases(self) -> list[torch.Tensor]:
        return [module.bias for module in self._convolutions() if module.bias is not None]

    def _convolutions(self) -> list[nn.Conv1d]:
        return [module for module in self.model.modules() if isinstance(module, nn.Conv1d)]
