import json
import re
import shutil
import socket
import sys

import pytest
import torch
from huggingface_hub.errors import RepositoryNotFoundError
from safetensors.torch import load_file, save_file
from transformers import AutoModel, PreTrainedModel

from dse_hf import WaveUNetConfig, WaveUNetModel, loading
from dse_hf.loading import load_model, load_separator


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A tiny model, and its folder."""
    folder = tmp_path_factory.mktemp("pretrained") / "tiny-speech"
    config = WaveUNetConfig(num_layers=2, channel_growth=4, padding="same", sampling_rate=16000)
    model = WaveUNetModel(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    return model, folder


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        pytest.fail("reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def changed(folder, target, **fields):
    """A copy of a model's folder with other fields in its config.json."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, **fields}))
    return target


def one_line(name, **kwargs) -> str:
    """The message of the error of both ways to load a model."""
    messages = []
    for load in (load_model, load_separator):
        with pytest.raises(ValueError) as error:
            load(name, **kwargs)
        messages.append(str(error.value))
    assert "\n" not in messages[0] and messages[0] == messages[1]
    return messages[0]


def test_embedded_model_and_folder_need_no_network(saved, monkeypatch, no_network):
    model, folder = saved
    monkeypatch.setattr(loading, "_FOLDER", folder.parent)
    assert loading.embedded_models() == ["tiny-speech"]
    for name in ("tiny-speech", folder, str(folder)):
        loaded = load_model(name, device="cpu")
        assert not loaded.training
        assert (loaded.device.type, loaded.dtype) == ("cpu", torch.float32)
        torch.testing.assert_close(loaded.network.bottleneck[0].weight, model.network.bottleneck[0].weight.float())


@pytest.mark.parametrize("name", loading.embedded_models())
def test_embedded_models_compute_in_float32_whatever_their_files_are_in(name):
    """On the Hub, AutoModel goes by config.json; in float16 a processor would be slow."""
    folder = loading.find_model(name).folder
    model = AutoModel.from_pretrained(folder)
    stored = load_file(folder / "model.safetensors")
    for key, tensor in model.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, stored[key].float())


def test_the_log_tells_which_kind_it_was(saved, monkeypatch, caplog):
    monkeypatch.setattr(loading, "_FOLDER", saved[1].parent)
    with caplog.at_level("INFO", logger="dse_hf.loading"):
        load_model("tiny-speech", device="cpu")
        load_model(saved[1], device="cpu")
    messages = [record.message for record in caplog.records if record.name == "dse_hf.loading"]
    assert messages[0].startswith("model tiny-speech: embedded, ")
    assert ": a folder, " in messages[1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype(saved, dtype):
    assert load_model(saved[1], device="cpu", dtype=dtype).dtype == getattr(torch, dtype)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_saved_dtype_is_kept(saved):
    model = load_model(saved[1])
    assert (model.device.type, model.dtype) == ("cuda", torch.bfloat16)


def test_wrong_device_and_dtype(saved):
    assert one_line(saved[1], dtype="int8") == "dtype 'int8': give one of auto, float32, bfloat16, float16"
    for device in ("teapot", "meta", "cuda:99"):
        message = one_line(saved[1], device=device)
        assert message.startswith(f"device {device!r}: not available (")
        assert message.endswith("; give auto or cpu")


def peak_memory() -> int:
    """In bytes, of this process."""
    resource = pytest.importorskip("resource")  # Windows has none
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def test_an_absurd_size_is_refused_before_memory_is_taken(saved, tmp_path):
    before = peak_memory()
    huge = changed(saved[1], tmp_path / "huge", num_layers=20, channel_growth=1024)
    large = changed(saved[1], tmp_path / "large", num_layers=12, channel_growth=300)
    assert "num_layers=20 and channel_growth=1024 make 79,639,347,200 parameters" in one_line(huge)
    assert "its weights do not fit" in one_line(large)
    with pytest.raises(Exception, match="parameters: more than 2,000,000,000"):  # by whatever way it is loaded
        AutoModel.from_pretrained(huge)
    assert peak_memory() - before < 1e8


@pytest.mark.parametrize("fields", [{"model_type": "bert", "num_labels": 10**9}, {"num_labels": 10**9}])
def test_a_config_of_a_billion_labels_is_refused_before_memory_is_taken(saved, tmp_path, fields):
    before = peak_memory()
    one_line(changed(saved[1], tmp_path / "model", **fields))
    assert peak_memory() - before < 1e8


def test_a_config_of_gigabytes_is_not_read(saved, tmp_path):
    folder = changed(saved[1], tmp_path / "model")
    with (folder / "config.json").open("wb") as file:
        file.truncate(2**33)  # takes no space on the disk
    assert "its config.json has 8,589,934,592 bytes, more than that of any model" in one_line(folder)


@pytest.mark.parametrize("content", ["[" * 10**5, '{"a":' * 10**5, "null", "[]", "", "NaN", "\xff"])
def test_a_config_that_is_none(saved, tmp_path, content):
    folder = changed(saved[1], tmp_path / "model")
    (folder / "config.json").write_text(content, encoding="latin-1")
    assert re.search("its config.json is not a valid JSON file; get it again|is a None model", one_line(folder))


def test_weights_that_are_no_numbers_are_refused(saved, tmp_path):
    folder = changed(saved[1], tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["network.encoder.1.bias"][3] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "its weight network.encoder.1.bias holds NaN or infinity; use" in one_line(folder)


def test_shards_are_read_by_their_index(saved, tmp_path):
    model = saved[0]
    model.save_pretrained(tmp_path, max_shard_size="1KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    loaded = load_model(tmp_path, device="cpu", dtype="bfloat16")
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    max(tmp_path.glob("*.safetensors")).unlink()
    assert "model.safetensors.index.json names model-0000" in one_line(tmp_path)


def test_only_the_hub_has_revisions(saved):
    assert "is a folder, which has no revision 'v1'" in one_line(saved[1], revision="v1")
    assert "is embedded, which has no revision" in one_line(loading.DEFAULT_MODEL, revision="v1")


def test_typo_is_answered_with_the_names(saved, monkeypatch):
    monkeypatch.setattr(loading, "_FOLDER", saved[1].parent)
    assert one_line("tiny-speach") == (
        "model 'tiny-speach': no such model (did you mean tiny-speech?); give an embedded one (tiny-speech), "
        "a folder (./my-model) or an id on the Hub (owner/name)"
    )
    assert "did you mean" not in one_line("xyz")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionError(), "the Hub cannot be reached, and the cache does not have it"),
        (
            RepositoryNotFoundError.__new__(RepositoryNotFoundError),
            "neither a folder here nor a model on the Hub; check the name",
        ),
    ],
)
def test_hub_id_that_cannot_be_had(monkeypatch, error, message):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", fail)
    assert one_line("nobody/nothing").startswith(f"model 'nobody/nothing': {message}")


def test_file_instead_of_a_folder(saved):
    path = saved[1] / "config.json"
    assert one_line(path) == f"model {str(path)!r}: is a file; give the folder with config.json and model.safetensors"


@pytest.mark.parametrize(
    "fields, wanted",
    [
        ({"model_type": "bert"}, "is a bert model, which does not separate"),
        ({"model_type": "nonsense", "auto_map": {}}, "nonsense"),
        ({"num_layers": 0}, "num_layers=0: must be between 1 and 20"),
        (
            {"channel_growth": 5},
            "its weights do not fit its config.json: network.encoder.0.weight has shape (4, 1, 15) and not "
            "(5, 1, 15), network.encoder.0.bias has shape (4,) and not (5,), network.encoder.1.weight has shape "
            "(8, 4, 15) and not (10, 5, 15), and 8 more; get both files again",
        ),
        ({"num_layers": 3}, "config.json: network.encoder.2.weight is missing, "),
        ({"num_layers": 1}, ".weight belongs to another network, network.encoder.1.bias belongs"),
        (
            {"model_type": "nonsense", "auto_map": {"AutoConfig": "config.Config"}},
            "needs code of its own, which is not run",
        ),
    ],
)
def test_folder_of_another_model(saved, tmp_path, fields, wanted):
    assert wanted in one_line(changed(saved[1], tmp_path / "model", **fields))


def test_a_config_that_only_transformers_minds(saved, tmp_path):
    folder = changed(saved[1], tmp_path / "model", auto_map=5)
    with pytest.raises(ValueError, match="; or give a model that dse-hf made"):
        load_model(folder)
    assert load_separator(folder).config.num_layers == 2


def test_damaged_folders(saved, tmp_path):
    assert "has no config.json, so it is not a model of transformers" in one_line(tmp_path)
    folder = changed(saved[1], tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert f"model {str(folder)!r}: " in one_line(folder)
    weights.unlink()
    assert "has no model.safetensors; other files with weights are not opened" in one_line(folder)
    saved[0].save_pretrained(folder, variant="fp16")
    assert "has no model.safetensors, only model.fp16.safetensors; variants are not loaded: save" in one_line(folder)
    (folder / "model.fp16.safetensors").unlink()
    torch.save(saved[0].state_dict(), folder / "pytorch_model.bin")
    assert "has no model.safetensors, only pytorch_model.bin; " in one_line(folder)
    (folder / "config.json").write_text("{")
    assert "not a valid JSON" in one_line(folder)


@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
@pytest.mark.parametrize(
    "fields", [{}, {"bands": 3, "bias": False}, {"padding": "valid", "average_polarity_flip": True}]
)
def test_a_separator_gives_the_samples_of_the_model(tmp_path, fields, dtype):
    torch.manual_seed(0)
    config = WaveUNetConfig(num_layers=2, channel_growth=4, sampling_rate=16000, **{"padding": "same", **fields})
    WaveUNetModel(config).save_pretrained(tmp_path)
    model, separator = (load(tmp_path, device="cpu", dtype=dtype) for load in (load_model, load_separator))
    assert not isinstance(separator, PreTrainedModel) and not separator.training
    assert (separator.dtype, separator.device) == (model.dtype, model.device)
    assert separator.name_or_path == model.name_or_path == str(tmp_path)
    for name in ("context", "alignment", "sources", "level_invariant", "average_polarity_flip"):
        assert getattr(separator.config, name) == getattr(model.config, name)
    waveform = torch.rand(2, 3000) - 0.5
    for name, source in model.separate(waveform, 16000).items():
        torch.testing.assert_close(separator.separate(waveform, 16000)[name], source, atol=1e-6, rtol=0)


def test_a_type_without_a_separator_is_loaded_as_a_model():
    assert isinstance(load_separator("dae-speech-8khz"), PreTrainedModel)


def test_weights_that_are_no_floats_are_refused(saved, tmp_path):
    folder = changed(saved[1], tmp_path / "integers")
    tensors = {name: tensor.to(torch.int8) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"its weight .* is of torch.int8; give a model whose weights are floats"):
        load_separator(folder)
