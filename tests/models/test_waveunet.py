import copy
import itertools
import json

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError

from dse_hf import WaveformFeatureExtractor, WaveUNet, WaveUNetConfig, WaveUNetModel
from tests.models import reference_waveunet


def tiny_model(seed=0, **kwargs) -> WaveUNetModel:
    torch.manual_seed(seed)
    model = WaveUNetModel(WaveUNetConfig(**{"num_layers": 2, "channel_growth": 4, **kwargs})).eval()
    with torch.no_grad():  # learned upsampling starts as linear: make it something else
        for name, parameter in model.named_parameters():
            if "upsample" in name:
                parameter.normal_()
    return model


class TestNetwork:
    @pytest.mark.parametrize(
        "options",
        [
            dict(zip(("padding", "output", "upsampling", "output_activation", "channels", "sources"), values))
            for values in itertools.product(
                ("valid", "same"),
                ("difference", "direct"),
                ("linear", "learned"),
                ("tanh", "linear"),
                (1, 2),
                (["a", "b"], ["a", "b", "c"]),
            )
        ],
        ids=lambda options: "-".join(str(len(v) if isinstance(v, list) else v) for v in options.values()),
    )
    def test_equals_the_paper_in_numpy(self, options):
        model = tiny_model(downsampling_kernel_size=5, upsampling_kernel_size=3, **options)
        length = model.config.input_length_for(9)
        mixture = torch.randn(1, options["channels"], length, generator=torch.Generator().manual_seed(1))
        expected = reference_waveunet.separate(
            {name: tensor.double().numpy() for name, tensor in model.network.state_dict().items()},
            mixture[0].double().numpy(),
            num_layers=2,
            num_sources=len(options["sources"]),
            **{key: options[key] for key in ("padding", "output", "output_activation")},
        )
        with torch.no_grad():
            for sources in (model(mixture).sources, model.network.predict_sources(mixture)):
                np.testing.assert_allclose(sources[0], expected, atol=2e-6)
            foreground, background = model.network(mixture)
        np.testing.assert_allclose(foreground[0], expected[0], atol=2e-6)
        np.testing.assert_allclose(background + foreground, crop(mixture, foreground.shape[-1]), atol=1e-6)

    def test_has_the_papers_size_and_lengths(self):
        config = WaveUNetConfig(n_layers=12, f_d=15, f_u=5, F_c=24)
        model = WaveUNetModel(config)
        assert sum(p.numel() for p in model.parameters()) == 10_263_002  # the 10.26 M of the design
        assert config.input_length_for(16384) == 147_443
        assert config.output_length_for(147_443) == 16_389
        with torch.no_grad():
            assert model(torch.zeros(1, 1, 147_443)).sources.shape == (1, 2, 1, 16_389)

    def test_channels_follow_table_1(self):
        network = WaveUNet(n_layers=3, f_u=5, f_d=15, F_c=8)
        assert [(c.in_channels, c.out_channels) for c in network.encoder] == [(1, 8), (8, 16), (16, 24)]
        assert network.bottleneck[0].out_channels == 32
        assert [(c.in_channels, c.out_channels) for c in network.decoder] == [(56, 24), (40, 16), (24, 8)]
        assert (network.output_layer[0].in_channels, network.output_layer[0].out_channels) == (9, 1)

    @pytest.mark.parametrize("padding", ["valid", "same"])
    @pytest.mark.parametrize("level", [1, 2, 3])
    def test_an_impulse_comes_out_where_it_went_in(self, padding, level):
        """The impulse runs down to `level`, through that level's skip, and up again: no path may shift it."""
        model = tiny_model(num_layers=3, channel_growth=1, padding=padding, output_activation="linear")
        network, config = model.network, model.config
        for parameter in network.parameters():
            torch.nn.init.zeros_(parameter)
        with torch.no_grad():
            for k in range(1, level + 1):
                network.encoder[k - 1].weight[0, 0, 7] = 1
            for k in range(3, 0, -1):  # decoder block of level k: [k + 1 upsampled channels, k of the skip]
                if k <= level:
                    network.decoder[3 - k].weight[0, k + 1 if k == level else 0, 2] = 1
            network.output_layer[0].weight[0, 0, 0] = 1
        length = config.input_length_for(401)
        for at in (length // 2 // 8 * 8, length // 2 // 8 * 8 + 8):
            at += model.config.context % 4 if padding == "valid" else 0
            for shift in range(2 ** (level - 1)):
                mixture = torch.zeros(1, 1, length)
                mixture[0, 0, at + shift] = 1
                for sources in (model(mixture).sources, network.predict_sources(mixture)):
                    foreground = sources[0, 0, 0]
                    offset = (length - len(foreground)) // 2
                    heard = foreground.nonzero().flatten() + offset
                    # Steps that decimation drops leave silence; what is kept is centred on the impulse.
                    if len(heard):
                        assert heard.float().mean() == at + shift

    def test_center_crop_and_stack_channels(self):
        signal = torch.arange(10.0)[None, None]
        assert WaveUNet.center_crop(signal, 4).tolist() == [[[3, 4, 5, 6]]]
        assert WaveUNet.center_crop(signal, 5).tolist() == [[[2, 3, 4, 5, 6]]]
        assert WaveUNet.center_crop(signal, 10).shape[-1] == 10
        assert WaveUNet.stack_channels(signal[..., :4], signal).shape == (1, 2, 4)

    def test_learned_upsampling_starts_as_linear(self):
        torch.manual_seed(0)
        learned = WaveUNetModel(WaveUNetConfig(num_layers=2, channel_growth=4, upsampling="learned"))
        linear = WaveUNetModel(WaveUNetConfig(num_layers=2, channel_growth=4))
        linear.load_state_dict(learned.state_dict(), strict=False)
        mixture = torch.randn(1, 1, learned.config.input_length_for(20))
        torch.testing.assert_close(learned(mixture).sources, linear(mixture).sources)

    def test_gradients_of_the_fast_arrangement_equal_the_plain_ones(self):
        model = tiny_model(padding="same", upsampling="learned", channels=2, sources=["a", "b", "c"])
        mixture = torch.randn(2, 2, 101)
        gradients = []
        for predict in (model.network.predict_sources, lambda x: model(x).sources):
            model.zero_grad()
            predict(mixture).square().mean().backward()
            gradients.append([p.grad.clone() for p in model.parameters()])
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def crop(signal, length):
    start = (signal.shape[-1] - length) // 2
    return signal[..., start : start + length]


class TestModel:
    def test_foreground_and_background_sum_to_the_mixture(self):
        model = tiny_model(sources=["a", "b", "c"], output="direct")
        mixture = torch.randn(2, 1, model.config.input_length_for(50))
        output = model(mixture)
        torch.testing.assert_close(output.foreground, output.sources[:, 0])
        torch.testing.assert_close(output.foreground + output.background, crop(mixture, output.sources.shape[-1]))

    def test_loss_is_the_papers_mse_over_cropped_labels(self):
        model = tiny_model()
        mixture = torch.randn(2, 1, model.config.input_length_for(50))
        labels = torch.randn(2, 2, 1, mixture.shape[-1])
        output = model(mixture, labels=labels)
        expected = (output.sources - crop(labels, output.sources.shape[-1])).square().mean()
        torch.testing.assert_close(output.loss, expected)
        alone = model(mixture, labels=labels[:, 0])
        expected = (output.foreground - crop(labels[:, 0], output.sources.shape[-1])).square().mean()
        torch.testing.assert_close(alone.loss, expected)

    def test_padding_does_not_count_in_the_loss(self):
        model = tiny_model(padding="same")
        mixture, labels = torch.randn(2, 1, 101), torch.randn(2, 2, 1, 101)
        mask = torch.ones(2, 101)
        torch.testing.assert_close(
            model(mixture, labels=labels, padding_mask=mask).loss, model(mixture, labels=labels).loss
        )
        mask[1, 60:] = 0
        loss = model(mixture, labels=labels, padding_mask=mask).loss
        labels[1, ..., 60:] = 1e3
        torch.testing.assert_close(model(mixture, labels=labels, padding_mask=mask).loss, loss)
        errors = (model(mixture).sources - labels).square()
        expected = torch.cat([errors[0].flatten(), errors[1, ..., :60].flatten()]).mean()
        torch.testing.assert_close(loss, expected)
        with pytest.raises(ValueError, match=r"padding_mask of shape \(2, 7\): give \(2, T\)"):
            model(mixture, labels=labels, padding_mask=mask[:, :7])

    def test_takes_what_the_feature_extractor_gives(self):
        inputs = WaveformFeatureExtractor()(
            [np.zeros(300, np.float32), np.zeros(500, np.float32)], sampling_rate=16000, return_tensors="pt"
        )
        assert tiny_model(padding="same")(**inputs).sources.shape == (2, 2, 1, 500 - 3)

    @pytest.mark.parametrize("shape", [(2, 1, 3), (2, 3, 1, 200), (2, 2, 2, 200), (1, 1, 200)])
    def test_wrong_labels_are_refused(self, shape):
        model = tiny_model()
        with pytest.raises(ValueError, match=r"labels of shape .* give \(2, 2, 1, T\)"):
            model(torch.randn(2, 1, 200), labels=torch.zeros(shape))

    @pytest.mark.parametrize("shape", [(200,), (1, 200), (1, 2, 200)])
    def test_wrong_inputs_are_refused(self, shape):
        with pytest.raises(ValueError, match=r"input_values of shape .* give \(batch, 1, samples\)"):
            tiny_model()(torch.zeros(shape))

    def test_a_too_short_input_is_refused_with_the_length_it_needs(self):
        model = tiny_model()
        with pytest.raises(ValueError, match=f"too short .* at least {model.config.input_length_for(1)}"):
            model(torch.zeros(1, 1, 20))

    def test_new_weights_keep_the_level_of_the_features(self):
        torch.manual_seed(3)
        model = WaveUNetModel(WaveUNetConfig(num_layers=6, channel_growth=16, padding="same"))
        features, levels = torch.randn(1, 1, 4097), []
        for block in model.network.encoder:
            skip, features = block(features)
            levels.append(skip.square().mean().sqrt().item())
        assert min(levels) > 0.5 and max(levels) < 2


class TestConfig:
    def test_names_of_the_paper_work(self):
        config = WaveUNetConfig(n_layers=3, f_d=9, f_u=3, F_c=8)
        assert (config.num_layers, config.downsampling_kernel_size) == (3, 9)
        assert (config.upsampling_kernel_size, config.channel_growth) == (3, 8)
        assert (config.n_layers, config.f_d, config.f_u, config.F_c) == (3, 9, 3, 8)

    def test_the_old_name_of_average_polarity_flip_works(self, tmp_path):
        model = tiny_model(both_polarities=True)
        model.save_pretrained(tmp_path)
        fields = json.loads((tmp_path / "config.json").read_text())
        assert fields.pop("average_polarity_flip") is True and "both_polarities" not in fields
        (tmp_path / "config.json").write_text(json.dumps({**fields, "both_polarities": True}))  # as it was published
        loaded = WaveUNetModel.from_pretrained(tmp_path)
        assert loaded.config.average_polarity_flip and loaded.config.both_polarities
        assert not WaveUNetConfig.from_pretrained(tmp_path, both_polarities=False).average_polarity_flip
        waveform = torch.rand(1, 300)
        twice = loaded.separate(waveform, 16000)["foreground"]
        loaded.config.both_polarities = False
        assert not loaded.config.average_polarity_flip
        assert not torch.allclose(loaded.separate(waveform, 16000)["foreground"], twice)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"num_layers": 20, "f_d": 255, "F_c": 1}, "make one window take .* values in a layer"),
            ({"num_layers": 16, "F_c": 130}, "make one window take .* values in a layer"),
            ({"sources": [f"s{k}" for k in range(10**5)]}, "sources=100000 names: must name 2 to 64"),
            ({"sources": ["s" * 65, "rest"]}, "a name has more than 64 characters"),
            ({"num_labels": 10**9}, "num_labels=1000000000: these models have no labels"),
        ],
    )
    def test_a_small_config_cannot_ask_for_much_memory(self, fields, message):
        with pytest.raises((StrictDataclassError, ValueError), match=message) as error:
            WaveUNetConfig(**fields)
        assert len(str(error.value)) < 500

    def test_variants_of_the_paper(self):
        differing = {
            "M1": {"output": "direct", "padding": "same", "channels": 1},
            "M2": {"output": "difference", "padding": "same", "channels": 1},
            "M3": {"output": "difference", "padding": "valid", "channels": 1},
            "M4": {"padding": "valid", "channels": 2, "upsampling": "linear"},
            "M5": {"channels": 2, "upsampling": "learned", "sampling_rate": 22050},
            "M5-HighSR": {"channels": 2, "upsampling": "learned", "sampling_rate": 44100},
            "M6": {"channels": 2, "sources": ["bass", "drums", "other", "vocals"]},
            "M7": {"channels": 1, "padding": "valid", "channel_growth": 34, "sampling_rate": 8192},
        }
        for variant, fields in differing.items():
            config = WaveUNetConfig.paper(variant)
            assert {field: getattr(config, field) for field in fields} == fields, variant
            assert (config.num_layers, config.f_d, config.f_u) == (12, 15, 5)
        with pytest.raises(ValueError, match="M5-HighSR"):
            WaveUNetConfig.paper("M8")

    @pytest.mark.parametrize("padding", ["valid", "same"])
    @pytest.mark.parametrize("bands", [1, 3])
    @pytest.mark.parametrize("layers, down, up", [(1, 1, 1), (1, 3, 5), (2, 5, 3), (3, 15, 5), (4, 3, 1)])
    def test_the_length_rule_is_what_the_network_does(self, padding, layers, down, up, bands):
        model = tiny_model(num_layers=layers, channel_growth=1, f_d=down, f_u=up, padding=padding, bands=bands)
        config = model.config
        for length in range(1, 3 * config.alignment * max(down, up), 3 if bands == 1 else 13):
            try:
                expected = config.output_length_for(length)
            except ValueError:
                with pytest.raises((ValueError, RuntimeError)):
                    model._predict(torch.zeros(1, 1, length))
            else:
                assert model(torch.zeros(1, 1, length)).sources.shape[-1] == expected
        for wanted in (1, 2, 7, 30, 100):
            length = config.input_length_for(wanted)
            assert wanted <= config.output_length_for(length) < wanted + config.alignment
            trimmed = config.context if padding == "valid" else 0
            assert length - config.output_length_for(length) == 2 * trimmed

    @pytest.mark.parametrize(
        "layers, down, up, bands", [(1, 3, 5, 1), (2, 5, 3, 1), (3, 15, 5, 1), (4, 3, 1, 1), (2, 5, 3, 3)]
    )
    def test_receptive_field_bounds_what_an_output_sample_sees(self, layers, down, up, bands):
        model = tiny_model(num_layers=layers, channel_growth=2, f_d=down, f_u=up, padding="same", bands=bands).double()
        half = model.config.receptive_field // 2
        mixture = torch.randn(1, 1, model.config.input_length_for(4 * half)).double()
        mixture.requires_grad_()
        reach = 0
        for at in range(2 * half, 2 * half + model.config.alignment):
            (gradient,) = torch.autograd.grad(model(mixture).foreground[0, 0, at], mixture)
            seen = gradient.flatten().nonzero().flatten() - at
            assert seen.min() >= -half and seen.max() <= half
            reach = max(reach, -seen.min().item(), seen.max().item())
        assert reach > half - model.config.alignment  # the bound is not a loose one


def test_every_option_reaches_the_computation():
    base = tiny_model(padding="same").config.to_dict()
    mixture = torch.randn(1, 1, 201, generator=torch.Generator().manual_seed(0))
    for field, value in {
        "num_layers": 3,
        "downsampling_kernel_size": 9,
        "upsampling_kernel_size": 3,
        "channel_growth": 3,
        "sources": ["a", "b", "c"],
        "output": "direct",
        "upsampling": "learned",
        "output_activation": "linear",
        "padding": "valid",
        "channels": 2,
        "average_polarity_flip": True,
        "bands": 2,
    }.items():
        model, changed = tiny_model(padding="same"), tiny_model(**{**copy.deepcopy(base), field: value})
        before = model(mixture).sources
        after = changed(mixture.expand(-1, changed.config.channels, -1)).sources
        assert before.shape != after.shape or not torch.allclose(before, after), field
    assert tiny_model(bias=False).num_parameters() < tiny_model().num_parameters()  # biases are zero at first


@pytest.mark.parametrize("options", [{}, {"output": "direct", "padding": "valid", "channels": 2}])
def test_polarity_flips_are_averaged_except_in_training(options):
    model = tiny_model(average_polarity_flip=True, **options)
    mixture = torch.randn(2, model.config.channels, model.config.input_length_for(50))
    with torch.no_grad():
        upright, upside_down = (model.network.predict_sources(signal) for signal in (mixture, -mixture))
        assert (upright + upside_down).abs().max() > 1e-3
        for hidden_states in (False, True):
            sources = model(mixture, output_hidden_states=hidden_states).sources
            torch.testing.assert_close(sources, (upright - upside_down) / 2)
            torch.testing.assert_close(model(-mixture, output_hidden_states=hidden_states).sources, -sources)
        torch.testing.assert_close(model.train()(mixture).sources, upright)


@pytest.mark.parametrize("average_polarity_flip", [False, True])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_hidden_states_are_what_leaves_the_blocks(padding, average_polarity_flip):
    options = {"padding": padding, "average_polarity_flip": average_polarity_flip}
    model = tiny_model(channel_growth=3, downsampling_kernel_size=5, upsampling_kernel_size=3, **options)
    mixture = torch.randn(1, 1, model.config.input_length_for(20))
    assert model(mixture).hidden_states is None
    output = model(mixture, output_hidden_states=True)
    assert [states.shape[1] for states in output.hidden_states] == [3, 6, 9, 6, 3]
    lengths = [states.shape[2] for states in output.hidden_states]
    assert lengths[1] < lengths[0] and lengths[2] < lengths[1] and lengths[4] == output.sources.shape[-1]
    torch.testing.assert_close(output.sources, model(mixture).sources, atol=1e-5, rtol=1e-5)
    model.config.output_hidden_states = True
    torch.testing.assert_close(model(mixture).hidden_states, output.hidden_states)


@pytest.mark.parametrize("fields", [{"f_u": 1.5}, {"n_layers": "2"}])
def test_other_names_of_fields_are_checked_as_well(fields):
    with pytest.raises(StrictDataclassError, match="expected int"):
        WaveUNetConfig(**fields)
    assert WaveUNetConfig(f_u=7).upsampling_kernel_size == 7
