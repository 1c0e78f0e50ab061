import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from dse_hf import DAEConfig, DAEModel, DVAEConfig, DVAEModel, VanillaAutoEncoder, VariationalAutoEncoder
from tests.models.test_separation import push_blocks


def tiny_model(seed=0, **kwargs) -> DAEModel:
    torch.manual_seed(seed)
    return DAEModel(DAEConfig(**{"hidden_sizes": [12, 7], "latent_dim": 5, "n_fft": 16, "hop_length": 8, **kwargs}))


def reference_forward(state: dict, frames: torch.Tensor) -> torch.Tensor:
    """libdse's forward pass, written out from its state dict: shares no code with the package."""

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])

    def linear(x, name):
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    x, k = norm(frames, "encoder.0"), 1
    while f"encoder.{k}.0.weight" in state:
        x, k = norm(linear(x, f"encoder.{k}.0").relu(), f"encoder.{k}.2"), k + 1
    k = 0
    while f"decoder.{k}.2.weight" in state:
        x, k = norm(linear(x, f"decoder.{k}.0").relu(), f"decoder.{k}.2"), k + 1
    return linear(x, f"decoder.{k}.0")


def reference_separation(model, waveform: torch.Tensor) -> torch.Tensor:
    """The foreground (C, T) of a waveform (C, T) in one pass, by torch's own STFT and its inverse."""
    config, length = model.config, waveform.shape[-1]
    # Zeros on both sides, so that the frames start at multiples of the hop and hold every sample.
    left = config.n_fft // 2
    padded = F.pad(waveform, (left, left + (-length % config.hop_length)))
    transform = {"n_fft": config.n_fft, "hop_length": config.hop_length, "window": torch.hann_window(config.n_fft)}
    spectrum = torch.stft(padded, **transform, pad_mode="constant", return_complex=True)
    features = (spectrum.abs() + config.log_offset).log().transpose(1, 2)
    with torch.no_grad():
        estimate = model.eval()(features.to(model.dtype)).reconstruction.float().transpose(1, 2)
    magnitude = (estimate.exp() - config.log_offset).clamp(min=0)
    phase = torch.where(spectrum == 0, 0, spectrum / spectrum.abs())
    return torch.istft(magnitude * phase, **transform)[:, left : left + length]


def make_identity(model):
    for stage in (*model.network.encoder, *model.network.decoder):
        stage.forward = lambda x: x
    return model


class TestNetwork:
    @pytest.mark.parametrize("hidden", [None, [], [7], [9, 5], [6, 6, 6]])
    @pytest.mark.parametrize("axes", [(), (4,), (2, 3)])
    def test_equals_libdses_definition(self, hidden, axes):
        torch.manual_seed(0)
        network = VanillaAutoEncoder(11, 3, hidden, dropout=0.5).eval()
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter)
        frames = torch.randn(*axes, 11)
        torch.testing.assert_close(network(frames), reference_forward(network.state_dict(), frames))

    def test_has_libdses_names(self):
        stage = ["0.weight", "0.bias", "2.weight", "2.bias"]
        assert list(VanillaAutoEncoder(9, 2, [5, 4]).state_dict()) == [
            *("encoder.0.weight", "encoder.0.bias"),
            *(f"encoder.{k}.{name}" for k in (1, 2, 3) for name in stage),
            *(f"decoder.{k}.{name}" for k in (0, 1) for name in stage),
            *("decoder.2.0.weight", "decoder.2.0.bias"),
        ]

    @pytest.mark.parametrize(
        ("hidden", "widths"),
        [
            (None, [129, 1024, 512, 256, 128, 180, 128, 256, 512, 1024, 129]),
            ([2048, 500], [129, 2048, 500, 180, 500, 2048, 129]),
            ([], [129, 180, 129]),
        ],
    )
    def test_widths_are_mirrored(self, hidden, widths):
        linears = [m for m in VanillaAutoEncoder(129, 180, hidden).modules() if isinstance(m, torch.nn.Linear)]
        assert [linears[0].in_features, *(linear.out_features for linear in linears)] == widths

    @pytest.mark.parametrize(
        ("hidden", "dropping"),
        [([8, 7, 6], {"encoder.1.3", "decoder.2.3"}), ([8], {"encoder.1.3", "decoder.0.3"}), ([], {"encoder.1.3"})],
    )
    def test_drops_only_in_the_first_layer_and_its_mirror(self, hidden, dropping):
        network = VanillaAutoEncoder(9, 3, hidden, dropout=0.5)
        dropouts = {name: m.p for name, m in network.named_modules() if isinstance(m, torch.nn.Dropout)}
        assert {name for name, p in dropouts.items() if p} == dropping
        assert {dropouts[name] for name in dropping} == {0.5}
        frames = torch.randn(4, 9)
        assert not torch.equal(network(frames), network(frames))
        assert torch.equal(network.eval()(frames), network(frames))
        silent = VanillaAutoEncoder(9, 3, hidden)
        assert torch.equal(silent.train()(frames), silent.eval()(frames))

    @pytest.mark.parametrize("network_class", [VanillaAutoEncoder, VariationalAutoEncoder])
    def test_never_changes_its_arguments(self, network_class):
        hidden = [8, 7]
        first, second = network_class(9, 3, hidden), network_class(9, 3, hidden)
        assert hidden == [8, 7]
        assert [p.shape for p in first.parameters()] == [p.shape for p in second.parameters()]
        frames = torch.randn(2, 9)
        before = frames.clone()
        first(frames)
        assert torch.equal(frames, before)


class TestModel:
    def test_forward(self):
        model = tiny_model().eval()
        frames, labels = torch.randn(2, 3, 9), torch.randn(2, 3, 9)
        output = model(frames, labels=labels)
        torch.testing.assert_close(output.reconstruction, reference_forward(model.network.state_dict(), frames))
        assert output.latent.shape == (2, 3, 5)
        torch.testing.assert_close(output.loss, (output.reconstruction - labels).square().mean())
        assert model(frames).loss is None
        assert len(model(frames, return_dict=False)) == 2

    def test_padding_does_not_count_in_the_loss(self):
        model = tiny_model()
        frames, labels = torch.randn(2, 4, 9), torch.randn(2, 4, 9)
        mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]])
        expected = model(torch.cat([frames[0], frames[1, :1]]), labels=torch.cat([labels[0], labels[1, :1]])).loss
        torch.testing.assert_close(model(frames, labels, mask).loss, expected)

    @pytest.mark.parametrize(
        ("shapes", "message"),
        [
            ([(2, 8)], r"input_features of shape \(2, 8\): give \(…, 9\)"),
            ([()], r"input_features of shape \(\): give \(…, 9\)"),
            ([(2, 9), (9,)], r"labels of shape \(9,\): give \(2, 9\)"),
            ([(2, 9), (2, 9), (2, 9)], r"attention_mask of shape \(2, 9\): give \(2,\)"),
        ],
    )
    def test_wrong_shapes_are_refused(self, shapes, message):
        with pytest.raises(ValueError, match=message):
            tiny_model()(*(torch.ones(shape) for shape in shapes))

    def test_new_weights_have_pytorchs_initialisation(self):
        config = tiny_model(hidden_sizes=[400]).config
        for model in (DAEModel(config), DAEModel.from_pretrained(None, config=config, state_dict={})):
            weight = model.network.encoder[1][0].weight
            assert 0.9 / 3 < weight.abs().max() <= 1 / 3  # uniform within 1/√9
            assert (model.network.encoder[0].weight == 1).all()


class TestSeparate:
    @pytest.mark.parametrize(("n_fft", "hop_length"), [(16, 8), (16, 4), (16, 1), (9, 3), (2, 1), (256, 128)])
    @pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 700])
    def test_an_identity_network_gives_the_input_back(self, n_fft, hop_length, length):
        model = make_identity(tiny_model(n_fft=n_fft, hop_length=hop_length))
        waveform = torch.rand(2, length) * 2 - 1
        sources = model.separate(waveform, 8000)
        torch.testing.assert_close(sources["foreground"], waveform, atol=1e-5, rtol=0)
        torch.testing.assert_close(sources["background"], torch.zeros(2, length), atol=1e-5, rtol=0)

    @settings(max_examples=40, deadline=None)
    @given(
        length=st.integers(1, 500),
        tile_length=st.integers(1, 300),
        blocks=st.lists(st.integers(0, 200), max_size=5),
        frames=st.sampled_from([(16, 8), (16, 4), (8, 2), (12, 4)]),
        channels=st.integers(1, 3),
        seed=st.integers(0, 9),
    )
    def test_tiles_and_blocks_of_any_size_equal_one_pass(self, length, tile_length, blocks, frames, channels, seed):
        model = tiny_model(seed, n_fft=frames[0], hop_length=frames[1])
        waveform = 0.1 + 0.8 * torch.rand(channels, length, generator=torch.Generator().manual_seed(seed))
        waveform[:, ::3] *= -1
        expected = reference_separation(model, waveform)
        tiled = model.separate(waveform, 8000, tile_length=tile_length)
        torch.testing.assert_close(tiled["foreground"], expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(sum(tiled.values()), waveform, atol=2e-6, rtol=0)

        streamed = push_blocks(model.separation_stream(tile_length), waveform, blocks)
        torch.testing.assert_close(streamed[0], expected, atol=1e-5, rtol=0)

    def test_a_large_offset_is_taken_off_again(self):
        model, waveform = make_identity(tiny_model(log_offset=0.5)), torch.randn(1, 100)
        torch.testing.assert_close(model.separate(waveform, 8000)["foreground"], waveform, atol=1e-5, rtol=0)

    def test_silence_stays_silence(self):
        waveform = torch.randn(1, 400)
        waveform[:, 100:300] = 0
        sources = tiny_model().separate(waveform, 8000)
        assert sources["foreground"][:, :100].abs().min() > 0
        # Frames that reach into sound end within one frame of it.
        assert not sources["foreground"][:, 116:284].any() and not sources["background"][:, 116:284].any()
        assert not tiny_model().separate(torch.zeros(1, 50), 8000)["foreground"].any()

    @pytest.mark.parametrize("level", [1e-45, 1e-42, 1e-39, 1e-37, 1e-20])
    def test_the_quietest_numbers_stay_numbers(self, level):
        waveform = level * torch.randn(1, 400, generator=torch.Generator().manual_seed(0))
        sources = tiny_model().separate(waveform, 8000)
        torch.testing.assert_close(sum(sources.values()), waveform, atol=1e-8, rtol=1e-6)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_models(self, dtype):
        waveform = torch.rand(1, 400) * 2 - 1
        full = tiny_model().separate(waveform, 8000)["foreground"]
        half = tiny_model().to(dtype).separate(waveform, 8000)
        assert half["foreground"].dtype == torch.float32
        error = half["foreground"] - full
        assert error.square().mean() < 1e-2 * full.square().mean()
        torch.testing.assert_close(sum(half.values()), waveform, atol=1e-6, rtol=0)

    def test_arrays_and_training_mode(self):
        model = tiny_model(dropout=0.5).train()
        first, second = (model.separate(np.ones((1, 30), np.float32), 8000)["foreground"] for _ in range(2))
        assert torch.equal(first, second) and model.training and not first.requires_grad


class TestConfig:
    def test_defaults_are_libdses_recipe(self):
        config = DAEConfig()
        assert (config.sampling_rate, config.n_fft, config.hop_length, config.log_offset) == (8000, 256, 128, 1e-8)
        assert (config.input_dim, config.hidden_sizes, config.latent_dim) == (129, [2048, 500], 180)
        assert (config.sources, config.channels) == (["foreground", "background"], 1)

    @pytest.mark.parametrize("config_class", [DAEConfig, DVAEConfig])
    def test_libdses_names_work(self, config_class):
        config = config_class(input_dim=129, latent_dim=7, hidden_layer_struct=[4, 3])
        assert config.hidden_sizes == config.hidden_layer_struct == [4, 3]
        assert config_class(**config.to_dict()).input_dim == config.input_dim == config_class().input_dim == 129
        assert config_class(**{**config.to_dict(), "n_fft": 512}).input_dim == 257
        assert config_class(**config_class(input_dim=80).to_dict()).input_dim == 80

    @pytest.mark.parametrize(("config_class", "model_class"), [(DAEConfig, DAEModel), (DVAEConfig, DVAEModel)])
    def test_feature_vectors_of_any_width_go_through_forward_and_waveforms_do_not(
        self, config_class, model_class, tmp_path
    ):
        model_class(config_class(input_dim=80, hidden_sizes=[6], latent_dim=3)).eval().save_pretrained(tmp_path)
        model = model_class.from_pretrained(tmp_path)
        assert model(torch.zeros(2, 5, 80)).reconstruction.shape == (2, 5, 80)
        for take_waveforms in (
            lambda: model.separate(torch.zeros(1, 100), 8000),
            lambda: model.training_inputs(torch.zeros(1, 1, 300), torch.zeros(1, 2, 1, 300)),
        ):
            with pytest.raises(ValueError, match=r"input_dim=80: .* n_fft // 2 \+ 1 = 129"):
                take_waveforms()

    def test_every_field_reaches_the_computation(self):
        waveform = torch.randn(1, 100, generator=torch.Generator().manual_seed(0))
        before = tiny_model().separate(waveform, 8000)["foreground"]
        for field, value in {
            "hidden_sizes": [12, 8],
            "latent_dim": 6,
            "n_fft": 32,
            "hop_length": 4,
            "log_offset": 1e-2,
        }.items():
            after = tiny_model(**{field: value}).separate(waveform, 8000)["foreground"]
            assert not torch.allclose(before, after), field
        assert tiny_model(dropout=0.25).network.encoder[1][3].p == 0.25
        with pytest.raises(ValueError, match="at 11025 Hz"):
            tiny_model(sampling_rate=11025).separate(waveform, 8000)

    @pytest.mark.parametrize(("n_fft", "hop_length"), [(16, 8), (16, 4), (16, 1), (9, 3), (2, 1)])
    def test_the_length_rule_is_what_the_model_does(self, n_fft, hop_length):
        model = tiny_model(n_fft=n_fft, hop_length=hop_length)
        config = model.config
        assert config.alignment == hop_length and config.context % hop_length == 0
        for length in range(1, 6 * n_fft):
            if length < config.input_length_for(1):
                with pytest.raises(ValueError, match=f"at least {config.input_length_for(1)}"):
                    config.output_length_for(length)
            else:
                sources = model.separate_window(torch.zeros(1, 1, length))
                assert sources.shape == (1, 1, 1, config.output_length_for(length))
        for wanted in (1, 2, 30):
            assert config.output_length_for(config.input_length_for(wanted)) == wanted
        with pytest.raises(ValueError, match="output_length=0"):
            config.input_length_for(0)

    @pytest.mark.parametrize(("n_fft", "hop_length"), [(16, 8), (16, 4), (9, 3)])
    def test_receptive_field_bounds_what_an_output_sample_sees(self, n_fft, hop_length):
        model = tiny_model(n_fft=n_fft, hop_length=hop_length)
        config, reach = model.config, 0
        window = torch.randn(1, 1, config.input_length_for(3 * n_fft)).requires_grad_()
        foreground = model.separate_window(window)[0, 0, 0]
        for at in range(n_fft, 2 * n_fft):
            (gradient,) = torch.autograd.grad(foreground[at], window, retain_graph=True)
            seen = gradient.flatten().nonzero().flatten() - config.context - at
            reach = max(reach, -seen.min().item(), seen.max().item())
        assert n_fft - hop_length <= reach <= config.receptive_field // 2 <= config.context


@pytest.mark.parametrize("model_class", [DAEModel, DVAEModel])
def test_hidden_states_are_what_leaves_the_stages(model_class):
    model = model_class(model_class.config_class(hidden_sizes=[12], latent_dim=5, n_fft=16, hop_length=8)).eval()
    frames = torch.randn(2, 3, 9)
    assert model(frames).hidden_states is None
    output = model(frames, output_hidden_states=True)
    torch.testing.assert_close(output.hidden_states[0], model.network.encoder[0](frames))
    torch.testing.assert_close(output.hidden_states[-1], output.reconstruction)
    assert len(output.hidden_states) == len(model.network.encoder) + len(model.network.decoder)
    model.config.output_hidden_states = True
    torch.testing.assert_close(model(frames).hidden_states, output.hidden_states)
