import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from dse_hf import DVAEConfig, DVAEModel, VariationalAutoEncoder
from tests.models.test_dae import make_identity, reference_separation


def tiny_model(seed=0, **kwargs) -> DVAEModel:
    torch.manual_seed(seed)
    model = DVAEModel(DVAEConfig(**{"hidden_sizes": [12, 7], "latent_dim": 5, "n_fft": 16, "hop_length": 8, **kwargs}))
    for head in (model.network.mean, model.network.log_variance):
        torch.nn.init.normal_(head.weight)
    return model


def reference_kl(output) -> torch.Tensor:
    """KL per frame and latent dimension, (…, latent_dim), by torch.distributions."""
    posterior = Normal(output.mean, (output.log_variance / 2).exp())
    return kl_divergence(posterior, Normal(0.0, 1.0))


class TestNetwork:
    @pytest.mark.parametrize("hidden", [None, [], [7], [9, 5]])
    def test_equals_its_definition(self, hidden):
        network = VariationalAutoEncoder(11, 3, hidden, dropout=0.5).eval()
        state, frames = network.state_dict(), torch.randn(2, 4, 11)

        def stage(x, name):
            x = F.linear(x, state[f"{name}.0.weight"], state[f"{name}.0.bias"]).relu()
            return F.layer_norm(x, x.shape[-1:], state[f"{name}.2.weight"], state[f"{name}.2.bias"])

        depth = len([1024, 512, 256, 128] if hidden is None else hidden)
        x = F.layer_norm(frames, (11,), state["encoder.0.weight"], state["encoder.0.bias"])
        for k in range(1, depth + 1):
            x = stage(x, f"encoder.{k}")
        mean = F.linear(x, state["mean.weight"], state["mean.bias"])
        log_variance = F.linear(x, state["log_variance.weight"], state["log_variance.bias"])
        x = mean
        for k in range(depth):
            x = stage(x, f"decoder.{k}")
        expected = F.linear(x, state[f"decoder.{depth}.0.weight"], state[f"decoder.{depth}.0.bias"])
        torch.testing.assert_close(network(frames), (expected, mean, log_variance))

    def test_drops_only_in_the_first_layer_and_its_mirror(self):
        network = VariationalAutoEncoder(9, 3, [8, 7], dropout=0.5)
        dropouts = {name: m.p for name, m in network.named_modules() if isinstance(m, torch.nn.Dropout)}
        assert {name for name, p in dropouts.items() if p} == {"encoder.1.3", "decoder.1.3"}

    def test_latents_are_normal_in_training_and_the_mean_in_evaluation(self):
        network = VariationalAutoEncoder(9, 3, [8])
        mean, log_variance = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([-1.0, 0.0, 1.0])
        torch.manual_seed(0)
        latents = network.sample(mean.expand(50_000, 3), log_variance.expand(50_000, 3))
        torch.testing.assert_close(latents.mean(dim=0), mean, atol=0.03, rtol=0)
        torch.testing.assert_close(latents.var(dim=0).log(), log_variance, atol=0.03, rtol=0)
        assert torch.equal(network.eval().sample(mean, log_variance), mean)

    def test_reparameterisation_gradient(self):
        """E (z - a)² = (µ - a)² + σ²: its gradients are 2 (µ - a) and, by log σ², σ²."""
        network, target, draws = VariationalAutoEncoder(9, 4, [8]), 0.7, 200_000
        mean = torch.tensor([-1.0, 0.0, 0.5, 2.0], requires_grad=True)
        log_variance = torch.tensor([-2.0, 0.0, 0.5, 1.0], requires_grad=True)

        torch.manual_seed(0)
        latent = network.sample(mean.expand(draws, 4), log_variance.expand(draws, 4))
        latent.sub(target).square().mean(dim=0).sum().backward()
        variance = log_variance.detach().exp()
        torch.testing.assert_close(mean.grad, 2 * (mean.detach() - target), atol=0.03, rtol=0)
        torch.testing.assert_close(log_variance.grad, variance, atol=0.03, rtol=0.02)

        # With the noise ε fixed it is exact: ∂z/∂µ = 1, ∂z/∂log σ² = σ ε / 2.
        mean.grad = log_variance.grad = None
        torch.manual_seed(1)
        noise = torch.randn(4)
        torch.manual_seed(1)
        network.sample(mean, log_variance).sum().backward()
        torch.testing.assert_close(mean.grad, torch.ones(4))
        torch.testing.assert_close(log_variance.grad, variance.sqrt() * noise / 2)


class TestModel:
    def test_kl_is_the_closed_form(self):
        output = tiny_model()(torch.randn(2, 6, 9))
        torch.testing.assert_close(output.kl, reference_kl(output).mean(dim=(0, 1)).sum())
        assert output.kl > 0.1

    def test_the_standard_normal_diverges_by_nothing(self):
        model = tiny_model()
        for parameter in (*model.network.mean.parameters(), *model.network.log_variance.parameters()):
            torch.nn.init.zeros_(parameter)
        assert model(torch.randn(3, 9)).kl == 0

    def test_free_bits_are_a_floor_for_each_dimension(self):
        frames = torch.randn(8, 9, generator=torch.Generator().manual_seed(0))
        per_dimension = reference_kl(tiny_model()(frames)).mean(dim=0)
        ordered = per_dimension.detach().sort().values
        widest = ordered.diff().argmax()  # far from every dimension, so that no rounding decides
        free_bits = ordered[widest : widest + 2].mean().item()
        model = tiny_model(free_bits=free_bits)
        output = model(frames)
        torch.testing.assert_close(output.kl, per_dimension.clamp(min=free_bits).sum())
        output.kl.backward()
        moved = model.network.mean.weight.grad.abs().sum(dim=1) > 0
        assert moved.tolist() == (per_dimension > free_bits).tolist() and 0 < moved.sum() < 5

    def test_loss(self):
        model = tiny_model(kl_weight=0.25).eval()
        frames, labels = torch.randn(2, 3, 9), torch.randn(2, 3, 9)
        output = model(frames, labels=labels)
        error = (output.reconstruction - labels).square().mean()
        torch.testing.assert_close(output.loss, error + 0.25 * output.kl)
        assert torch.equal(output.latent, output.mean)
        assert model(frames).loss is None

    def test_padding_does_not_count(self):
        model = tiny_model(kl_weight=0.25).eval()
        frames, labels = torch.randn(2, 4, 9), torch.randn(2, 4, 9)
        mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]])
        output = model(frames, labels, mask)
        expected = model(torch.cat([frames[0], frames[1, :1]]), torch.cat([labels[0], labels[1, :1]]))
        torch.testing.assert_close((output.loss, output.kl), (expected.loss, expected.kl))

    def test_training_draws_latents_and_evaluation_does_not(self):
        model, frames = tiny_model(), torch.randn(3, 9)
        assert not torch.equal(model.train()(frames).latent, model(frames).latent)
        assert torch.equal(model.eval()(frames).reconstruction, model(frames).reconstruction)

    def test_separation(self):
        model, waveform = tiny_model().train(), torch.rand(2, 333) * 2 - 1
        sources = model.separate(waveform, 8000, tile_length=50)
        assert model.training
        expected = reference_separation(model, waveform)
        torch.testing.assert_close(sources["foreground"], expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(sum(sources.values()), waveform, atol=2e-6, rtol=0)
        assert not model.separate(torch.zeros(1, 20), 8000)["foreground"].any()

    def test_an_identity_network_gives_the_input_back(self):
        model, waveform = make_identity(tiny_model(latent_dim=9)), torch.randn(1, 100)
        model.network.mean.forward = lambda x: x
        model.network.log_variance.forward = torch.zeros_like
        torch.testing.assert_close(model.separate(waveform, 8000)["foreground"], waveform, atol=1e-5, rtol=0)


class TestConfig:
    def test_defaults(self):
        config = DVAEConfig()
        assert (config.model_type, config.kl_weight, config.free_bits) == ("dvae", 1e-3, 0.0)
        assert (config.input_dim, config.hidden_layer_struct, config.latent_dim) == (129, [2048, 500], 180)

    def test_every_field_reaches_the_computation(self):
        frames = torch.randn(2, 9, generator=torch.Generator().manual_seed(0))
        before = tiny_model().eval()(frames, labels=frames)
        for field, value in {"hidden_sizes": [12, 8], "latent_dim": 6, "kl_weight": 0.1, "free_bits": 9.0}.items():
            after = tiny_model(**{field: value}).eval()(frames, labels=frames)
            assert not torch.allclose(before.loss, after.loss), field
        network = tiny_model(dropout=0.25).network
        assert network.encoder[1][3].p == network.decoder[1][3].p == 0.25
        assert tiny_model(n_fft=32, hop_length=4).config.input_dim == 17

    def test_dropout_needs_a_hidden_layer(self):
        with pytest.raises(StrictDataclassError, match=r"dropout=0.5: hidden_sizes is empty"):
            DVAEConfig(hidden_sizes=[], dropout=0.5)
