"""Auto classes and the pipeline, in processes of their own: what a fresh interpreter sees is what counts."""

import io
import os
import textwrap

import numpy as np
import pytest
import soundfile
import torch

from ..fresh import TORCH, TRANSFORMERS, run_fresh


def run_python(code: str, *arguments: str, cwd=None, imported: str = TORCH) -> str:
    """Output of a fresh interpreter that runs `code`."""
    # As many threads as here: sums in another order are rounded in another way.
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    result = run_fresh(textwrap.dedent(code), *arguments, cwd=cwd, env=environment, imported=imported)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def make_folder(model_type: str, folder) -> None:
    """Saves a tiny model of this type, its feature extractor and the pipeline's code."""
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

    import dse_hf

    torch.manual_seed(0)
    if model_type == "waveunet":
        fields = {"num_layers": 2, "channel_growth": 4}
        extractor = dse_hf.WaveformFeatureExtractor(sampling_rate=16000)
    else:
        spectrum = {"n_fft": 32, "hop_length": 16, "sampling_rate": 16000}
        fields = {"hidden_sizes": [16, 12], "latent_dim": 8, **spectrum}
        extractor = dse_hf.SpectrogramFeatureExtractor(**spectrum)
    model = AutoModel.from_config(AutoConfig.for_model(model_type, **fields)).eval()
    dse_hf.AudioToAudioPipeline(model=model, feature_extractor=extractor, task="audio-to-audio").save_pretrained(
        folder
    )
    assert isinstance(AutoFeatureExtractor.from_pretrained(folder), type(extractor))
    # Noise has a phase in every bin. That of a tone far from its frequency is a matter of rounding, which an untrained
    # autoencoder makes loud.
    waveform = torch.randn(1, 3000) / 8
    torch.save(model.separate(waveform, 16000), folder / "expected.pt")
    torch.save(waveform, folder / "waveform.pt")


MODEL_TYPES = ["waveunet", "dae", "dvae"]


@pytest.mark.parametrize(
    "imports",
    [
        "import dse_hf, transformers",
        "import transformers.models.auto, dse_hf",
        "import dse_hf; from transformers import BertModel",
    ],
)
def test_auto_classes_know_our_models(imports):
    classes = run_python(
        f"""
        {imports}
        from transformers import AutoConfig, AutoModel, AutoFeatureExtractor, pipelines
        for name in ("waveunet", "dae", "dvae"):
            config = AutoConfig.for_model(name)
            print(type(config).__name__, AutoModel._model_mapping[type(config)].__name__)
        print("audio-to-audio" in pipelines.PIPELINE_REGISTRY.get_supported_tasks())
        """
    )
    assert classes.split("\n")[:-1] == [
        "WaveUNetConfig WaveUNetModel",
        "DAEConfig DAEModel",
        "DVAEConfig DVAEModel",
        "True",
    ]


@pytest.mark.parametrize(
    "module",
    [
        *("modeling_waveunet", "modeling_dae", "modeling_dvae", "configuration_dvae"),
        *("feature_extraction_waveform", "feature_extraction_spectrogram", "pipeline_audio_to_audio"),
    ],
)
def test_any_module_may_be_the_first_import(module):
    run_python(
        f"""
        import dse_hf.models.{module}
        from transformers import AutoConfig, AutoModel
        AutoModel.from_config(AutoConfig.for_model("waveunet", num_layers=1, channel_growth=2))
        """,
        imported=TRANSFORMERS,
    )


def test_every_public_name_can_be_imported():
    run_python("import dse_hf\nfor name in dse_hf.__all__: getattr(dse_hf, name)", imported=TRANSFORMERS)
    with pytest.raises(AttributeError, match="attribute WaveNet"):
        import dse_hf

        dse_hf.WaveNet  # noqa: B018


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_saved_folder_works_without_dse_hf(model_type, tmp_path):
    make_folder(model_type, tmp_path)
    output = run_python(
        """
        import sys
        sys.modules["dse_hf"] = None  # importing it fails
        import torch
        from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, pipeline
        folder = sys.argv[1]
        model = AutoModel.from_pretrained(folder, trust_remote_code=True)
        waveform, expected = torch.load(folder + "/waveform.pt"), torch.load(folder + "/expected.pt")
        sources = model.separate(waveform, 16000)
        assert all(torch.equal(sources[name], expected[name]) for name in expected)
        extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
        extractor(waveform[0].numpy(), sampling_rate=16000, return_tensors="pt")
        separate = pipeline("audio-to-audio", model=folder, trust_remote_code=True)
        items = separate({"raw": waveform.numpy(), "sampling_rate": 16000})
        for item in items:
            assert (torch.from_numpy(item["audio"]) - expected[item["label"]]).abs().max() < 1e-6
        print([type(x).__module__.split(".")[0] for x in (model, extractor, separate)])
        # What was loaded that way saves its code again.
        model.save_pretrained(sys.argv[2])
        AutoModel.from_pretrained(sys.argv[2], trust_remote_code=True)
        """,
        str(tmp_path),
        str(tmp_path / "again"),
        cwd=tmp_path,
        imported=TRANSFORMERS,
    )
    assert output.strip() == str(["transformers_modules"] * 3)


@pytest.fixture(scope="module")
def separate(tmp_path_factory):
    from transformers import pipeline

    import dse_hf

    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    dse_hf.WaveUNetModel(dse_hf.WaveUNetConfig(num_layers=2, channel_growth=4)).save_pretrained(folder)
    dse_hf.WaveformFeatureExtractor().save_pretrained(folder)
    return pipeline("audio-to-audio", model=str(folder))


class TestPipeline:
    @pytest.mark.parametrize("rate", [8000, 16000, 44100])
    @pytest.mark.parametrize("channels", [1, 2])
    def test_the_result_has_the_inputs_rate_and_shape(self, separate, rate, channels):
        samples = np.random.default_rng(0).uniform(-0.5, 0.5, (channels, 3001)).astype(np.float32)
        items = separate({"raw": samples, "sampling_rate": rate})
        assert [item["label"] for item in items] == ["foreground", "background"]
        for item in items:
            assert item["sampling_rate"] == rate
            assert item["audio"].shape == samples.shape and item["audio"].dtype == np.float32
        np.testing.assert_allclose(sum(item["audio"] for item in items), samples, atol=1e-6)

    def test_every_way_to_give_audio_gives_the_same(self, separate, tmp_path):
        samples = (np.random.default_rng(0).uniform(-0.5, 0.5, 2000) * 32768).round() / 32768
        path = tmp_path / "noisy.wav"
        soundfile.write(path, samples, 16000, subtype="PCM_16")
        expected = separate(samples.astype(np.float32))[0]["audio"]
        for given in (
            str(path),
            path,
            path.read_bytes(),
            {"array": samples, "sampling_rate": 16000},
            {"raw": samples[None], "sampling_rate": 16000},
            {"bytes": path.read_bytes(), "path": None},
            {"bytes": None, "path": str(path)},
            torch.from_numpy(samples),
        ):
            np.testing.assert_allclose(separate(given)[0]["audio"], expected, atol=1e-7)

    def test_lists_generators_and_batches(self, separate):
        rng = np.random.default_rng(0)
        clips = [rng.uniform(-0.5, 0.5, (1, n)).astype(np.float32) for n in (300, 1000, 77, 2000, 5)]
        items = [{"raw": clip, "sampling_rate": 16000} for clip in clips]
        expected = [separate(item)[0]["audio"] for item in items]
        for results in (separate(items), separate(items, batch_size=2), list(separate(item for item in items))):
            assert len(results) == len(clips)
            for result, one in zip(results, expected):
                np.testing.assert_allclose(result[0]["audio"], one, atol=1e-6)

    def test_sources_can_be_chosen(self, separate):
        items = separate(np.zeros(100, np.float32), sources=["background"])
        assert [item["label"] for item in items] == ["background"]

    def test_some_of_the_background_may_stay(self, separate):
        samples = 0.1 * np.random.default_rng(0).standard_normal((1, 500)).astype(np.float32)
        (speech, _), (both, rest), (whole, nothing) = (
            [item["audio"] for item in separate(samples, **options)]
            for options in ({}, {"background_db": -20}, {"background_db": 0})
        )
        np.testing.assert_allclose(both, speech + 0.1 * (samples - speech), atol=1e-6)
        np.testing.assert_allclose(both + rest, samples, atol=1e-6)
        np.testing.assert_allclose(whole, samples, atol=1e-6)
        assert not nothing.any() or np.abs(nothing).max() < 1e-6
        with pytest.raises(ValueError, match="background_db=1: must be 0 or less"):
            separate(samples, background_db=1)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("missing.wav", "^missing.wav: no such file or folder; check"),
            (b"this is no audio", "^audio data: not an audio format"),
            ({"raw": np.zeros(5)}, "sampling_rate is missing"),
            ({"sampling_rate": 16000}, "dict with sampling_rate: holds no audio"),
            (np.zeros(0, np.float32), "not empty"),
            (np.zeros((2, 2, 2), np.float32), r"shape \(2, 2, 2\)"),
            (np.zeros(5, np.int16), "divide by 32768"),
            (7, "input of type int"),
        ],
    )
    def test_what_is_no_audio_is_refused_in_one_line(self, separate, given, message):
        with pytest.raises(ValueError, match=message):
            separate(given)

    def test_a_header_that_announces_too_much_takes_no_memory(self, separate):
        """The 36 bits of a FLAC's length, all set: 512 GiB of samples."""
        file, samples = io.BytesIO(), np.random.default_rng(0).uniform(-0.5, 0.5, (5000, 2))
        soundfile.write(file, samples, 16000, format="FLAC")
        damaged = bytearray(file.getvalue())
        damaged[21] |= 0x0F
        damaged[22:26] = b"\xff" * 4
        with pytest.raises(ValueError, match="breaks off"):
            separate(bytes(damaged))

    @pytest.mark.parametrize("rate", [0, -1, 999, 10**7, 10**30, float("nan"), "16000", None, 1j])
    def test_a_rate_that_is_none_is_refused_before_anything_is_resampled(self, separate, rate):
        with pytest.raises(ValueError, match=r"sampling_rate=.*: give a number of Hz from 1000 to 768000"):
            separate({"raw": np.zeros(100, np.float32), "sampling_rate": rate})

    @pytest.mark.parametrize("length", [1, 2, 5, 47, 49])
    def test_a_few_samples_at_a_high_rate(self, separate, length):
        samples = np.linspace(0.1, 0.5, length, dtype=np.float32)[None]
        items = separate({"raw": samples, "sampling_rate": 768_000})
        np.testing.assert_allclose(sum(item["audio"] for item in items), samples, atol=1e-6)

    def test_tensors_of_any_kind(self, separate):
        samples = torch.linspace(-0.5, 0.5, 200).bfloat16().float()
        expected = separate(samples)[0]["audio"]
        for given in (
            samples.bfloat16(),
            samples.clone().requires_grad_(),
            {"array": samples, "sampling_rate": 16000},
        ):
            np.testing.assert_allclose(separate(given)[0]["audio"], expected, atol=1e-7)
        with pytest.raises(ValueError, match="audio of type Tensor: give an array"):
            separate(samples.to_sparse())

    @pytest.mark.parametrize("level", [float("nan"), float("inf"), 1e300])
    def test_what_is_no_number_is_refused(self, separate, level):
        with pytest.raises(ValueError, match="holds NaN or infinity"):
            separate({"raw": np.full(100, level), "sampling_rate": 44100})

    def test_unknown_arguments_are_refused(self, separate):
        with pytest.raises(ValueError, match="unknown arguments volume"):
            separate(np.zeros(5, np.float32), volume=11)
        with pytest.raises(ValueError, match="source 'vocals': this model separates foreground, background"):
            separate(np.zeros(5, np.float32), sources=["vocals"])
