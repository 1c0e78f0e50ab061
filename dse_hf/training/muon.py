"""The optimiser Muon (Jordan et al. 2024): momentum, made orthogonal."""

import torch
from torch import Tensor


# Of the quintic iteration that brings singular values near 1 (Jordan et al. 2024), and how often it runs.
COEFFICIENTS, ITERATIONS = (3.4445, -4.7750, 2.0315), 5
RMS = 0.2  # of an update, as AdamW's: learning rates and weight decay can be the same (Liu et al. 2025, section 2.2)


class Muon(torch.optim.AdamW):
    r"""
    Kernels and matrices learn by Muon, all else by AdamW: biases, norms, and what has one input or output channel.

    `torch.optim.Muon` takes matrices only. Here, a kernel (out, in, k) is a matrix of `out` rows. Every process needs
    whole kernels, as in data-parallel training: this is not for FSDP or ZeRO-3.

    Args:
        params: as for `torch.optim.AdamW`.
        momentum (`float`, *optional*, defaults to 0.95): of the gradients' mean, with Nesterov's look ahead.
        kwargs: as for `torch.optim.AdamW`; the learning rate and the weight decay are those of both.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(self, params, momentum: float = 0.95, **kwargs):
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum}: must be from 0 to below 1")
        super().__init__(params, **kwargs)
        self.defaults["momentum"] = momentum
        for group in self.param_groups:
            group.setdefault("momentum", momentum)

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        orthogonalized = []
        for group in self.param_groups:
            for parameter in filter(_is_matrix, group["params"]):
                if parameter.grad is not None:
                    self._update(parameter, group)
                    orthogonalized.append((parameter, parameter.grad))
                    parameter.grad = None  # AdamW passes over it
        super().step()
        for parameter, gradient in orthogonalized:
            parameter.grad = gradient
        return loss

    def _update(self, parameter: Tensor, group: dict) -> None:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
            state["step"] = torch.tensor(0.0)  # AdamW counts on it where a state is loaded
        state["step"] += 1
        mean = state["momentum_buffer"].lerp_(parameter.grad, 1 - group["momentum"])
        direction = orthogonalize(parameter.grad.lerp(mean, group["momentum"]).flatten(1))
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        # An orthogonal matrix has an RMS of 1/√(its longer side).
        parameter.add_(direction.view_as(parameter), alpha=-group["lr"] * RMS * max(direction.shape) ** 0.5)


def orthogonalize(matrix: Tensor) -> Tensor:
    """A matrix (m, n) with the same singular vectors, and singular values from about 0.7 to 1.2."""
    transposed = len(matrix) > matrix.shape[1]
    result = matrix.T if transposed else matrix
    result = (result / (matrix.norm() + 1e-7)).bfloat16().contiguous()  # bfloat16 is near enough
    first, third, fifth = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = result @ result.T
        result = first * result + (third * square + fifth * square @ square) @ result
    return (result.T if transposed else result).to(matrix.dtype).contiguous()


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.dim() > 1 and min(parameter.shape[:2]) > 1
