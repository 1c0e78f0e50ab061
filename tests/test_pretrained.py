import json
import shutil
import socket

import pytest
import torch
from huggingface_hub.errors import RepositoryNotFoundError

from dse_hf import WaveUNetConfig, WaveUNetModel, pretrained
from dse_hf.pretrained import load_model


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
    with pytest.raises(ValueError) as error:
        load_model(name, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_embedded_model_and_folder_need_no_network(saved, monkeypatch, no_network):
    model, folder = saved
    monkeypatch.setattr(pretrained, "_FOLDER", folder.parent)
    assert pretrained.embedded_models() == ["tiny-speech"]
    for name in ("tiny-speech", folder, str(folder)):
        loaded = load_model(name, device="cpu")
        assert not loaded.training
        assert (loaded.device.type, loaded.dtype) == ("cpu", torch.float32)
        torch.testing.assert_close(loaded.network.bottleneck[0].weight, model.network.bottleneck[0].weight.float())


def test_the_log_tells_which_kind_it_was(saved, monkeypatch, caplog):
    monkeypatch.setattr(pretrained, "_FOLDER", saved[1].parent)
    with caplog.at_level("INFO", logger="dse_hf.pretrained"):
        load_model("tiny-speech", device="cpu")
        load_model(saved[1], device="cpu")
    messages = [record.message for record in caplog.records if record.name == "dse_hf.pretrained"]
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
    assert one_line(saved[1], dtype="int8") == "dtype 'int8': give auto, float32, bfloat16 or float16"
    for device in ("teapot", "meta", "cuda:99"):
        message = one_line(saved[1], device=device)
        assert message.startswith(f"device {device!r}: not available (")
        assert message.endswith("; give auto or cpu")


def test_typo_is_answered_with_the_names(saved, monkeypatch):
    monkeypatch.setattr(pretrained, "_FOLDER", saved[1].parent)
    assert one_line("tiny-speach") == (
        "model 'tiny-speach': no such model (did you mean tiny-speech?); give an embedded one (tiny-speech), "
        "a folder (./my-model) or an id on the Hub (owner/name)"
    )
    assert "did you mean" not in one_line("xyz")


def test_hub_id_out_of_reach_is_told_at_once(monkeypatch):
    def no_route(*args, **kwargs):
        raise ConnectionError

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", no_route)
    assert "the Hub cannot be reached, and the cache does not have it" in one_line("nobody/nothing")


def test_hub_id_that_does_not_exist(monkeypatch):
    def not_found(*args, **kwargs):
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", not_found)
    assert one_line("nobody/nothing").startswith(
        "model 'nobody/nothing': neither a folder here nor a model on the Hub; check the name"
    )


def test_file_instead_of_a_folder(saved):
    path = saved[1] / "config.json"
    assert one_line(path) == f"model {str(path)!r}: is a file; give the folder with config.json and model.safetensors"


@pytest.mark.parametrize(
    "fields, wanted",
    [
        ({"model_type": "bert"}, "is a bert model, which does not separate"),
        ({"model_type": "nonsense", "auto_map": {}}, "nonsense"),
        ({"auto_map": 5}, "; or give a model that dse-hf made"),
        ({"num_layers": 0}, "num_layers=0: must be between 1 and 20"),
        ({"channel_growth": 5}, "its weights do not fit its config.json: network.bottleneck.0.bias and"),
        ({"num_layers": 3}, "its weights do not fit its config.json: network."),
        (
            {"model_type": "nonsense", "auto_map": {"AutoConfig": "config.Config"}},
            "needs code of its own, which is not run",
        ),
    ],
)
def test_folder_of_another_model(saved, tmp_path, fields, wanted):
    assert wanted in one_line(changed(saved[1], tmp_path / "model", **fields))


def test_damaged_folders(saved, tmp_path):
    assert "model_type" in one_line(tmp_path)
    folder = changed(saved[1], tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert f"model {str(folder)!r}: " in one_line(folder)
    weights.unlink()
    assert "model.safetensors" in one_line(folder)
    (folder / "config.json").write_text("{")
    assert "not a valid JSON" in one_line(folder)
