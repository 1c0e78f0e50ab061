"""Every way to the Hub and back: the real clients, in processes of their own, against the local Hub."""

import json

import pytest

from .local import LocalHub


# Sends models in all ways, and keeps what each of them makes of a signal. `folder` is where that is kept.
PUSH = """
import sys
import torch
from huggingface_hub import HfApi
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel, Trainer, TrainingArguments
import dse_hf

folder = sys.argv[1]
waveform = torch.sin(torch.arange(4001) ** 2 / 3e4)[None] / 2
expected = {"waveform": waveform}

def make(name, model_type="waveunet", **fields):
    torch.manual_seed(len(expected))
    if model_type == "waveunet":
        fields = {"num_layers": 2, "channel_growth": 4, **fields}
        extractor = dse_hf.WaveformFeatureExtractor()
    else:
        fields = {"hidden_sizes": [16], "latent_dim": 8, "n_fft": 32, "hop_length": 16, "sampling_rate": 16000}
        extractor = dse_hf.SpectrogramFeatureExtractor(sampling_rate=16000, n_fft=32, hop_length=16)
    model = AutoModel.from_config(AutoConfig.for_model(model_type, **fields)).eval()
    expected[name] = model.separate(waveform, 16000)["foreground"].contiguous()
    return model, extractor

def pipe(model, extractor):
    return dse_hf.AudioToAudioPipeline(model=model, feature_extractor=extractor, task="audio-to-audio")

model, extractor = make("parts")
model.push_to_hub("org/parts")
extractor.push_to_hub("org/parts")
pipe(*make("waveunet")).push_to_hub("org/waveunet")
HfApi().create_tag("org/waveunet", tag="v1")
pipe(*make("waveunet-2")).push_to_hub("org/waveunet")
for model_type in ("dae", "dvae"):
    pipe(*make(model_type, model_type)).push_to_hub("org/" + model_type)
model, extractor = make("private")
model.push_to_hub("org/private", private=True)
model, extractor = make("sharded")
model.push_to_hub("org/sharded", max_shard_size="1KB")
model, extractor = make("trained")
arguments = TrainingArguments(folder + "/run", hub_model_id="org/trained", report_to=[], use_cpu=True)
Trainer(model, arguments, processing_class=extractor).push_to_hub()
save_file(expected, folder + "/expected.safetensors")
"""

# What is common to those that load: `same` compares what a model makes of the signal with what it made when sent.
LOAD = """
import json, sys
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, pipeline
expected = load_file(sys.argv[1] + "/expected.safetensors")
waveform = expected["waveform"]
told = {}

def same(model, name, tolerance=1e-6):
    found = model.separate(waveform, 16000)["foreground"].float()
    return bool((found - expected[name]).abs().max() <= tolerance)

def load_all(names, **options):
    for name, more in names.items():
        repo = "org/" + name.split("-")[0]
        told[name] = same(AutoModel.from_pretrained(repo, **options, **more), name)
        told["config of " + name] = AutoConfig.from_pretrained(repo, **options, **more).sampling_rate

ALL = {"parts": {}, "waveunet": {"revision": "v1"}, "waveunet-2": {}, "dae": {}, "dvae": {}, "private": {},
       "sharded": {}, "trained": {}}

def load_in_other_ways(**options):
    half = AutoModel.from_pretrained("org/waveunet", dtype=torch.bfloat16, **options)
    told["dtype"] = half.dtype == torch.bfloat16 and same(half, "waveunet-2", 2e-2)
    spread = AutoModel.from_pretrained("org/waveunet", device_map="auto", **options)
    told["device_map"] = same(spread, "waveunet-2")
    for name in ("parts", "waveunet", "dae", "dvae"):
        extractor = AutoFeatureExtractor.from_pretrained("org/" + name, **options)
        extractor(waveform[0].numpy(), sampling_rate=16000, return_tensors="pt")
        told["extractor of " + name] = type(extractor).__name__
"""

LOAD_WITHOUT_DSE_HF = (
    LOAD
    + """
load_all(ALL, trust_remote_code=True)
load_in_other_ways(trust_remote_code=True)
for name in ("waveunet", "dae", "dvae"):
    separate = pipeline("audio-to-audio", model="org/" + name, trust_remote_code=True)
    item = separate({"raw": waveform.numpy(), "sampling_rate": 16000})[0]
    wanted = expected["waveunet-2" if name == "waveunet" else name]
    told["pipeline of " + name] = bool((torch.from_numpy(item["audio"]) - wanted).abs().max() < 1e-6)
told["where the code is from"] = type(separate.model).__module__.split(".")[0]
try:
    AutoModel.from_pretrained("org/waveunet", trust_remote_code=False)
except ValueError as error:
    told["without trust"] = "trust_remote_code" in str(error)
print(json.dumps(told))
"""
)

LOAD_WITH_DSE_HF = (
    LOAD
    + """
import io
import dse_hf, numpy as np, soundfile
from dse_hf import load_model

load_all(ALL)
load_in_other_ways()
from dse_hf.hub.cards.text import describe_data
told["licence of the data"] = describe_data(["org/speech"]) == "- `org/speech`; licence: cc-by-4.0, mit"
told["load_model"] = same(load_model("org/waveunet"), "waveunet-2")
told["load_model, a tag"] = same(load_model("org/waveunet", revision="v1"), "waveunet")
told["load_model, shards"] = same(load_model("org/sharded"), "sharded")
told["load_model, private"] = same(load_model("org/private"), "private")

separate = pipeline("audio-to-audio", model="org/waveunet", trust_remote_code=True)
wanted = expected["waveunet-2"].numpy()
file = io.BytesIO()
soundfile.write(file, waveform[0].numpy(), 16000, format="WAV", subtype="FLOAT")
path = sys.argv[1] + "/noisy.wav"
with open(path, "wb") as opened:
    opened.write(file.getvalue())

def right(items):
    return [item["label"] for item in items] == ["foreground", "background"] and bool(
        np.abs(items[0]["audio"] - wanted).max() < 1e-6
    )

from datasets import Audio, Dataset, Features, Value
features = Features({"audio": {"bytes": Value("binary"), "path": Value("string")}})
rows = [{"bytes": file.getvalue(), "path": None}] * 3
dataset = Dataset.from_dict({"audio": rows}, features=features).cast_column("audio", Audio(decode=False))
array = {"array": waveform[0].numpy(), "sampling_rate": 16000}
given = {"path": path, "bytes": file.getvalue(), "array": waveform.numpy(), "item": array,
         "dataset item": dataset[0]["audio"]}
for name, one in given.items():
    told["pipeline on " + name] = right(separate(one))
told["pipeline on list"] = all(map(right, separate(list(given.values()), batch_size=2)))

drawn = []
def draw():
    for one in given.values():
        drawn.append(1)
        yield one

from tqdm import tqdm
progress = io.StringIO()
results = separate(draw(), batch_size=2)
told["a generator is not run ahead"] = len(drawn) < len(given)
told["pipeline on generator"] = all(map(right, tqdm(results, total=len(given), file=progress)))
told["progress"] = "5/5" in progress.getvalue()

def foreground(row):
    return {"foreground": separate(row["audio"])[0]["audio"][0]}

mapped = dataset.map(foreground)
told["datasets.map"] = bool(np.abs(np.array(mapped[2]["foreground"]) - wanted[0]).max() < 1e-6)
mapped = dataset.map(lambda batch: {"n": [right(items) for items in separate(batch["audio"])]}, batched=True)
told["datasets.map, batched"] = mapped["n"][:] == [True] * 3
print(json.dumps(told))
"""
)

# Audio packages and the like are missing where only torch and transformers are installed.
ONLY_TRANSFORMERS = ("dse_hf", "datasets", "soundfile", "soxr", "av", "scipy", "wrapt", "matplotlib", "torchaudio")

SENT = ("parts", "waveunet", "waveunet-2", "dae", "dvae", "private", "sharded", "trained")
LOADED = {
    **dict.fromkeys(SENT, True),
    **dict.fromkeys((f"config of {name}" for name in SENT), 16000),
    **{"dtype": True, "device_map": True},
    **{f"extractor of {name}": "WaveformFeatureExtractor" for name in ("parts", "waveunet")},
    **{f"extractor of {name}": "SpectrogramFeatureExtractor" for name in ("dae", "dvae")},
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A Hub with models that were sent in all ways."""
    with LocalHub(tmp_path_factory.mktemp("roundtrip")) as hub:
        hub.create_repo("org/speech", "dataset", {"README.md": "---\nlicense: [cc-by-4.0, mit]\n---\n"})
        hub.run(PUSH, hub.root)
        yield hub


def test_what_is_on_the_hub_needs_nothing_else(filled):
    for name in ("parts", "waveunet", "trained"):
        files = set(filled.files(f"org/{name}"))
        assert {"config.json", "model.safetensors", "modeling_waveunet.py", "preprocessor_config.json"} <= files
        assert not any(path.endswith((".bin", ".pkl")) for path in files - {"training_args.bin"})
    assert "pipeline_audio_to_audio.py" in filled.files("org/waveunet")
    assert "custom_pipelines" in json.loads(filled.files("org/waveunet")["config.json"])
    assert sum(path.endswith(".safetensors") for path in filled.files("org/sharded")) > 1
    assert filled.is_private("org/private") and not filled.is_private("org/parts")
    assert len(filled.commits("org/waveunet")) == 3


def test_all_of_it_comes_back_with_transformers_alone_and_then_offline(filled):
    rest = {f"pipeline of {name}": True for name in ("waveunet", "dae", "dvae")}
    wanted = {**LOADED, **rest, "where the code is from": "transformers_modules", "without trust": True}
    for offline in (False, True):
        requests = len(filled.requests)
        options = {"without": ONLY_TRANSFORMERS, "home": "alone", "offline": offline}
        assert json.loads(filled.run(LOAD_WITHOUT_DSE_HF, filled.root, **options)) == wanted
    assert len(filled.requests) == requests


def test_all_of_it_comes_back_with_dse_hf(filled):
    told = json.loads(filled.run(LOAD_WITH_DSE_HF, filled.root, home="with"))
    assert {name: value for name, value in told.items() if name in LOADED} == LOADED
    rest = {name: value for name, value in told.items() if name not in LOADED}
    assert len(rest) == 16 and all(value is True for value in rest.values()), rest


# ── Names that cannot be loaded ──

REFUSED = """
import json, logging, os, sys, time
import transformers
from huggingface_hub import constants
from dse_hf import load_model
messages, waited = [], []
time.sleep = waited.append
logger = logging.getLogger("dse_hf.loading")
logger.setLevel("INFO")
logger.addFilter(lambda record: messages.append(record.getMessage()))
token, endpoint = os.environ["HF_TOKEN"], constants.ENDPOINT
for name, options in json.loads(sys.argv[1]):
    os.environ["HF_TOKEN"] = options.pop("token", token)
    constants.ENDPOINT = options.pop("endpoint", endpoint)
    try:
        load_model(name, **options)
        print(messages[-1])
    except ValueError as error:
        print(error)
    if waited:
        print(f"waited {waited} s")
"""


def test_names_that_cannot_be_loaded_say_why_and_what_to_do(filled, tmp_path):
    small = {path: filled.files("org/parts")[path] for path in ("config.json", "model.safetensors")}
    filled.create_repo("org/gated", files=small, gated=True)
    filled.create_repo("org/pickle", files={"config.json": small["config.json"], "pytorch_model.bin": b"\x80"})
    filled.create_repo("org/empty", files={"notes.txt": "no model"})
    filled.create_repo("org/bert", files={"config.json": '{"model_type": "bert"}'})
    filled.create_repo("org/code", files={"config.json": '{"model_type": "x", "auto_map": {"AutoConfig": "a.B"}}'})
    other = {**json.loads(small["config.json"]), "channel_growth": 5}
    filled.create_repo("org/unfit", files={**small, "config.json": json.dumps(other)})
    nowhere = {"endpoint": "http://127.0.0.1:9"}
    guest, commit = {"token": "hf_guest"}, filled.commits("org/parts")[0].id[:7]
    absent = "neither a folder here nor a model on the Hub; check the name (if it is private, run"
    wanted = [
        ("org/parts", {}, f"model org/parts: from the Hub, commit {commit}, "),
        ("org/nothing", {}, absent),
        ("org/private", guest, absent),
        ("org/gated", guest, "is gated; ask for access on its page, then run `hf auth login`"),
        (
            "org/parts",
            {"token": "hf_wrong"},
            "the Hub does not know your token; run `hf auth login`, or correct HF_TOKEN",
        ),
        ("org/parts", {"revision": "v9"}, "has no revision 'v9'; see the branches on its page"),
        ("org/pickle", {}, "has no model.safetensors; other files with weights are not opened, because"),
        ("org/empty", {}, "has no config.json, so it is not a model of transformers; or give a model that"),
        ("org/bert", {}, "is a bert model, which does not separate; or give a model that dse-hf made"),
        ("org/code", {}, "needs code of its own, which is not run; or give a model that dse-hf made"),
        ("org/unfit", {}, "its weights do not fit its config.json: network.encoder.0.weight has shape (4, 1, 15)"),
        ("org/sharded", nowhere, "the Hub cannot be reached, and the cache does not have it; check the network"),
        ("org/parts", nowhere, f"model org/parts: from the cache, as the Hub is out of reach, commit {commit}, "),
    ]
    printed = filled.run(REFUSED, json.dumps([call[:2] for call in wanted]), home="refused").splitlines()
    for line, (name, _, message) in zip(printed, wanted, strict=True):
        assert line.startswith(message if message.startswith("model ") else f"model {name!r}: {message}")
    assert not any("pytorch_model.bin" in path for _, path, _ in filled.requests)
