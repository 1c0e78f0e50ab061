import copy

import pytest
import torch

from dse_hf import WaveUNetConfig, WaveUNetModel
from dse_hf.training.muon import RMS, Muon, orthogonalize
from tests.training.test_training import assert_equal_weights, corpus, run  # noqa: F401


@pytest.fixture
def model():
    torch.manual_seed(0)
    return WaveUNetModel(WaveUNetConfig(num_layers=2, channel_growth=8, padding="same"))


def with_gradients(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (16, 16)])
def test_orthogonalizing_keeps_the_singular_vectors_and_evens_the_values(shape):
    torch.manual_seed(0)
    rank = min(shape)
    left, right = (torch.linalg.qr(torch.randn(size, rank))[0] for size in shape)
    found = orthogonalize(left * torch.linspace(0.1, 3, rank) @ right.T)
    values = left.T @ found @ right
    assert found.shape == shape and found.dtype == torch.float32
    assert values.diagonal().min() > 0.6 and values.diagonal().max() < 1.25
    assert (values - values.diagonal().diag()).abs().max() < 0.06  # bfloat16


def test_silence_has_no_direction():
    assert not orthogonalize(torch.zeros(4, 6)).any()


def test_what_is_no_matrix_learns_as_with_adamw(model):
    options = {"lr": 1e-2, "betas": (0.9, 0.99), "weight_decay": 0.1}
    other = copy.deepcopy(model)
    optimizers = Muon(model.parameters(), **options), torch.optim.AdamW(other.parameters(), **options)
    for seed in range(3):
        for network, optimizer in zip((model, other), optimizers):
            with_gradients(network, seed)
            optimizer.step()
    kinds = {"same": [], "different": []}
    for (name, parameter), twin in zip(model.named_parameters(), other.parameters()):
        kinds["same" if torch.equal(parameter, twin) else "different"].append(name)
    biases = [name for name, _ in model.named_parameters() if name.endswith("bias")]
    # The first layer has one channel in, the last one out.
    same = {"network.encoder.0.weight", "network.output_layer.0.weight", *biases}
    assert kinds["same"] == [name for name, _ in model.named_parameters() if name in same]
    assert len(kinds["different"]) == 4


def test_an_update_is_as_large_as_adamws(model):
    before = copy.deepcopy(model)
    Muon(with_gradients(model).parameters(), lr=1e-2, weight_decay=0).step()
    for block in ("encoder.1", "bottleneck.0", "decoder.0", "decoder.1"):
        change = model.get_parameter(f"network.{block}.weight") - before.get_parameter(f"network.{block}.weight")
        assert change.square().mean().sqrt().item() == pytest.approx(1e-2 * RMS, rel=0.4)


def test_weights_decay(model):
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = copy.deepcopy(model)
    Muon(model.parameters(), lr=0.1, weight_decay=0.5).step()
    for parameter, old in zip(model.parameters(), before.parameters()):
        torch.testing.assert_close(parameter, 0.95 * old)


def test_gradients_are_left_as_they_were_and_the_closure_is_called(model):
    gradients = [parameter.grad.clone() for parameter in with_gradients(model).parameters()]
    assert Muon(model.parameters(), lr=1e-2).step(lambda: 3.0) == 3.0
    assert all(torch.equal(parameter.grad, grad) for parameter, grad in zip(model.parameters(), gradients))


def test_a_wrong_momentum_is_refused(model):
    with pytest.raises(ValueError, match=r"momentum=1\.5: must be from 0 to below 1"):
        Muon(model.parameters(), momentum=1.5)


def test_a_resumed_training_is_one_that_never_stopped(corpus, tmp_path):  # noqa: F811
    options = {"muon": True, "eval_clips": 0}
    whole = run(corpus, tmp_path / "run", **options)
    (tmp_path / "run" / "checkpoint-4" / "trainer_state.json").unlink()  # as if it had been killed before
    assert_equal_weights(whole, run(corpus, tmp_path / "run", **options), rtol=1e-5, atol=1e-6)
    with pytest.raises(AssertionError):  # another optimiser than without the option
        assert_equal_weights(whole, run(corpus, tmp_path / "adamw", eval_clips=0))
