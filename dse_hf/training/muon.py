"""The optimiser Muon (Jordan et al. 2024): each step is an orthogonal matrix made of the momentum."""

import torch
from torch import Tensor


# Coefficients of the quintic iteration that moves singular values near 1 (Jordan et al. 2024), and number of steps.
COEFFICIENTS, ITERATIONS = (3.4445, -4.7750, 2.0315), 5
# RMS of an update. AdamW's is similar, so learning rate and weight decay can stay (Liu et al. 2025, section 2.2).
RMS = 0.2


class Muon(torch.optim.AdamW):
    r"""
    Muon for kernels and matrices, AdamW for all other parameters: biases, norms, and layers with one input or output
    channel.

    `torch.optim.Muon` takes matrices only. Here, a kernel (out, in, k) is a matrix of `out` rows. Each process must
    have whole kernels, as in data-parallel training, so this does not work with FSDP or ZeRO-3.

    Args:
        params: see `torch.optim.AdamW`.
        momentum (`float`, *optional*, defaults to 0.95): momentum of the mean of gradients, in the form of Nesterov.
        kwargs: see `torch.optim.AdamW`. Learning rate and weight decay are the same for both optimisers.

    Raises:
        ValueError: a value is out of its range.
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
                    self._update(parameter, parameter.grad, group)
                    orthogonalized.append((parameter, parameter.grad))
                    parameter.grad = None  # AdamW then skips this parameter.
        super().step()
        for parameter, gradient in orthogonalized:
            parameter.grad = gradient
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict) -> None:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
            state["step"] = torch.tensor(0.0)  # AdamW needs it when a state is loaded.
        state["step"] += 1
        mean = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        direction = orthogonalize(gradient.lerp(mean, group["momentum"]).flatten(1))
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        # The RMS of an orthogonal matrix is 1/√(length of its longer side).
        parameter.add_(direction.view_as(parameter), alpha=-group["lr"] * RMS * max(direction.shape) ** 0.5)


def orthogonalize(matrix: Tensor) -> Tensor:
    """Returns a matrix (m, n) with the same singular vectors, and singular values from about 0.7 to 1.2."""
    transposed = len(matrix) > matrix.shape[1]
    result = matrix.T if transposed else matrix
    # bfloat16 is exact enough. Processors without instructions for it are many times slower with it.
    dtype = matrix.dtype if matrix.device.type == "cpu" else torch.bfloat16
    result = (result / (matrix.norm() + 1e-7)).to(dtype).contiguous()
    first, third, fifth = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = result @ result.T
        result = first * result + (third * square + fifth * square @ square) @ result
    return (result.T if transposed else result).to(matrix.dtype).contiguous()


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.dim() > 1 and min(parameter.shape[:2]) > 1
