import json

import pytest
import torch

from dse_hf.training.arguments import parse_arguments
from dse_hf.training.run import main
from tests.test_data import folder as data_folder  # noqa: F401


def recipe(folder, output, **options) -> dict:
    return {
        "model_config": {"num_layers": 2, "channel_growth": 4, "padding": "same"},
        "speech_dataset": str(folder / "speech"),
        "noise_dataset": str(folder / "noise"),
        "window_seconds": 0.2,
        "validation_examples": 4,
        "losses": ["l1", "multi_resolution_stft:0.5"],
        "max_steps": 6,
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 2,
        "learning_rate": "1e-2",
        "use_cpu": True,
        "save_steps": 3,
        "report_to": [],
        "disable_tqdm": True,
        "output_dir": str(output),
        **options,
    }


def run(folder, output, *options, **fields):
    path = output.parent / f"{output.name}.json"
    path.write_text(json.dumps(recipe(folder, output, **fields)))
    assert main([str(path), *options]) == 0
    from dse_hf import WaveUNetModel

    return WaveUNetModel.from_pretrained(output)


def test_a_run_trains_validates_and_saves(data_folder, tmp_path):  # noqa: F811
    model = run(data_folder, tmp_path / "run")
    assert model.config.num_layers == 2
    results = json.loads((tmp_path / "run" / "validation_results.json").read_text())
    assert {"eval_loss", "eval_si_sdr", "eval_si_sdr_improvement"} <= set(results)
    assert (tmp_path / "run" / "preprocessor_config.json").exists()


def test_the_same_recipe_gives_the_same_weights_and_a_resumed_run_too(data_folder, tmp_path):  # noqa: F811
    first, second = (run(data_folder, tmp_path / name).state_dict() for name in ("first", "second"))
    # The last weights are lost, the checkpoint of step 3 is not.
    interrupted = tmp_path / "interrupted"
    run(data_folder, interrupted)
    for file in [*(interrupted / "checkpoint-6").iterdir()]:
        file.unlink()
    (interrupted / "checkpoint-6").rmdir()
    resumed = run(data_folder, interrupted).state_dict()
    for name, weight in first.items():
        assert torch.equal(weight, second[name]), name
        torch.testing.assert_close(weight, resumed[name], rtol=1e-5, atol=1e-6)


def test_starts_from_a_saved_model(data_folder, tmp_path):  # noqa: F811
    before = run(data_folder, tmp_path / "before")
    after = run(data_folder, tmp_path / "after", "--model", str(tmp_path / "before"), "--learning_rate", "0")
    for old, new in zip(before.parameters(), after.parameters()):
        assert torch.equal(old, new)


def test_bf16_and_accumulation_run(data_folder, tmp_path):  # noqa: F811
    run(data_folder, tmp_path / "run", "--bf16", "true", "--gradient_accumulation_steps", "2", max_steps=2)


def test_options_override_the_recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "speech_dataset: a\nnoise_dataset: b\noutput_dir: c\nlearning_rate: 1e-3\nsnr_low: -3\nbf16: false\n"
        "losses: [l1, 'mse:2']\n"
    )
    _, data, training = parse_arguments([str(path), "--snr_low", "1.5"])
    assert (data.snr_low, training.learning_rate, training.losses) == (1.5, 1e-3, ["l1", "mse:2"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("learning_rat: 1\n", "'learning_rat' is no option"),
        (None, "No such file"),
        ("- a list\n", "holds no options"),
        ("a: [\n", "cannot be read"),
        (
            "speech_dataset: a\nnoise_dataset: b\noutput_dir: c\nuse_cpu: true\nmodel_config: {num_layers: 99}\n",
            "num_layers=99: must be between",
        ),
    ],
)
def test_a_bad_recipe_is_one_line(tmp_path, capsys, content, message):
    path = tmp_path / "recipe.yaml"
    if content:
        path.write_text(content)
    assert main([str(path)]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0]


def test_the_shipped_recipe_can_be_read():
    from pathlib import Path

    for path in Path("model_cards").glob("*/*.yaml"):
        model, _, training = parse_arguments([str(path), "--use_cpu", "true"])
        assert training.max_steps > 0 and (model.model_config or path.name != "recipe.yaml")
