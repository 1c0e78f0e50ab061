import errno
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import dse_hf
from dse_hf import DAEModel, DVAEModel, WaveUNetConfig, WaveUNetModel
from dse_hf.data import DataArguments, build_training_set, evaluation_clips
from dse_hf.evaluation import metrics
from dse_hf.training.arguments import SECTIONS, ModelArguments, parse_arguments
from dse_hf.training.noise_swap import swap_noises
from dse_hf.training.run import build_model, main
from dse_hf.training.trainer import SeparationTrainer, last_complete_checkpoint
from tests.data.clips import write_clips


RATE = 16000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Tones that come and go as speech, and noise: `speech/` and `noise/`, and `stems/` of three sources."""
    folder, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    time_axis = np.arange(RATE) / RATE
    for split in ("train", "validation"):
        for number in range(3):
            tone = 0.3 * np.sin(2 * np.pi * (200 + 90 * number) * time_axis) * np.sin(2 * np.pi * 3 * time_axis) ** 2
            write_clips(folder / "speech" / split, {f"{number}.wav": tone})
            write_clips(folder / "noise" / split, {f"{number}.wav": 0.1 * rng.standard_normal(RATE)})
    return folder


def recipe(corpus, output, **options) -> dict:
    return {
        "model_config": {"num_layers": 2, "channel_growth": 4, "padding": "same"},
        "speech_dataset": str(corpus / "speech"),
        "noise_dataset": str(corpus / "noise"),
        "window_seconds": 0.2,
        "validation_examples": 2,
        "eval_clips": 2,
        "losses": ["l1", "multi_resolution_stft:0.5"],
        "max_steps": 4,
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 2,
        "learning_rate": "1e-2",
        "use_cpu": True,
        "save_steps": 2,
        "report_to": [],
        "disable_tqdm": True,
        "output_dir": str(output),
        **options,
    }


AUTOENCODER = {"hidden_sizes": [24], "latent_dim": 12, "n_fft": 64, "hop_length": 32}
SPECTRAL = {"model_config": {**AUTOENCODER, "sampling_rate": RATE}, "losses": ["mse"]}


def write_recipe(corpus, output, **fields) -> Path:
    path = output.parent / f"{output.name}.json"
    path.write_text(json.dumps(recipe(corpus, output, **fields)))
    return path


def run(corpus, output, *options, model_class=WaveUNetModel, **fields):
    assert main([str(write_recipe(corpus, output, **fields)), *options]) == 0
    return model_class.from_pretrained(output)


@pytest.fixture
def forwards(monkeypatch):
    """For each forward pass: whether the model trains, its batch size, and whether cuDNN searches for kernels."""
    found, forward = [], WaveUNetModel.forward

    def seen(model, input_values, **kwargs):
        found.append((model.training, len(input_values), torch.backends.cudnn.benchmark))
        return forward(model, input_values, **kwargs)

    monkeypatch.setattr(WaveUNetModel, "forward", seen)
    return found


def logged(output, key="loss") -> list[float]:
    """Values of the log, in the order of the steps."""
    state = json.loads((Path(last_complete_checkpoint(output)) / "trainer_state.json").read_text())
    return [row[key] for row in state["log_history"] if key in row]


def assert_equal_weights(first, second, **tolerance):
    for (name, weight), other in zip(first.state_dict().items(), second.state_dict().values()):
        torch.testing.assert_close(weight, other, **(tolerance or {"rtol": 0, "atol": 0}), msg=name)


class TestRun:
    def test_it_leaves_a_folder_that_can_be_published(self, corpus, tmp_path):
        model = run(corpus, tmp_path / "run")
        assert model.config.num_layers == 2
        files = {path.name for path in (tmp_path / "run").iterdir() if path.is_file()}
        assert {"config.json", "model.safetensors", "preprocessor_config.json", "README.md", "results.json"} <= files
        assert not any(name.endswith((".bin", ".part")) for name in files)  # no pickles
        scores = json.loads((tmp_path / "run" / "validation_results.json").read_text())
        assert {"eval_loss", "eval_si_sdr", "eval_si_sdr_improvement", "eval_background_si_sdr"} <= set(scores)
        results = json.loads((tmp_path / "run" / "results.json").read_text())["models"]
        assert list(results) == ["input", "run"]
        improvement = results["run"]["mean"]["si_sdr"] - results["input"]["mean"]["si_sdr"]
        assert improvement == pytest.approx(scores["eval_si_sdr_improvement"], abs=1e-2)
        result = results["run"]
        assert not any(str(corpus) in (tmp_path / "run" / name).read_text() for name in ("results.json", "README.md"))
        assert result["mean"]["si_sdr"] == pytest.approx(scores["eval_si_sdr"], abs=1e-3)
        assert len(result["clips"]) == 2

    def test_scores_are_of_whole_clips_through_separate(self, corpus, tmp_path):
        model = run(corpus, tmp_path / "run", max_steps=1)
        arguments = DataArguments(str(corpus / "speech"), str(corpus / "noise"), validation_examples=2)
        clips = evaluation_clips(arguments, "validation", sampling_rate=RATE, sources=model.config.sources, limit=2)
        expected = []
        for clip in clips:
            foreground = model.separate(torch.from_numpy(clip.mixture), RATE)["foreground"]
            expected.append(metrics.si_sdr(foreground, torch.from_numpy(clip.references[0])))
        measured = json.loads((tmp_path / "run" / "validation_results.json").read_text())["eval_si_sdr"]
        assert measured == pytest.approx(torch.stack(expected).mean().item(), abs=0.02)

    def test_perceptual_scores_on_request(self, corpus, tmp_path, quick_metrics):
        run(corpus, tmp_path / "run", eval_perceptual=True, max_steps=1, eval_clips=1)
        scores = json.loads((tmp_path / "run" / "validation_results.json").read_text())
        assert 0 < scores["eval_stoi"] <= 1 and 1 <= scores["eval_pesq"] <= 4.65
        assert "eval_background_pesq" not in scores  # a score of speech

    def test_a_recipe_run_twice_gives_the_same_numbers(self, corpus, tmp_path):
        options = {"model_config": {**AUTOENCODER, "dropout": 0.5}, "losses": ["mse"], "model_type": "dvae"}
        models = [
            run(corpus, tmp_path / name, model_class=DVAEModel, **{**SPECTRAL, **options}, logging_steps=1)
            for name in ("first", "second")
        ]
        assert_equal_weights(*models)
        assert logged(tmp_path / "first") == logged(tmp_path / "second")

    def test_workers_do_not_change_the_batches(self, corpus, tmp_path):
        runs = [run(corpus, tmp_path / str(n), dataloader_num_workers=n, max_steps=2, eval_clips=0) for n in (0, 2)]
        assert_equal_weights(*runs)

    def test_it_starts_from_a_saved_model(self, corpus, tmp_path):
        before = run(corpus, tmp_path / "before")
        fields = recipe(corpus, tmp_path / "after", model=str(tmp_path / "before"), learning_rate=0, max_steps=1)
        del fields["model_config"]
        (tmp_path / "after.json").write_text(json.dumps(fields))
        assert main([str(tmp_path / "after.json")]) == 0
        assert_equal_weights(before, WaveUNetModel.from_pretrained(tmp_path / "after"))

    def test_epochs_instead_of_steps(self, corpus, tmp_path):
        run(corpus, tmp_path / "run", max_steps=-1, num_train_epochs=2, save_strategy="epoch", logging_steps=1)
        # 3 clips in batches of 2: two steps an epoch, and other examples in the second one.
        losses = logged(tmp_path / "run")
        assert len(losses) == 4 and len(set(losses)) == 4


class TestModels:
    @pytest.mark.parametrize(
        ("model_class", "fields"),
        [
            (WaveUNetModel, {"model_config": {"num_layers": 3, "channel_growth": 8, "padding": "same"}}),
            (DAEModel, {"model_type": "dae", **SPECTRAL}),
            (DVAEModel, {"model_type": "dvae", **SPECTRAL}),
        ],
    )
    def test_overfits_one_batch(self, corpus, tmp_path, model_class, fields):
        options = {"losses": ["mse"], "max_steps": 150, "logging_steps": 1, "save_strategy": "no", **fields}
        _, data, arguments = parse_arguments([str(write_recipe(corpus, tmp_path / "run", **options))])
        arguments.remove_unused_columns = False
        torch.manual_seed(0)
        model = build_model(
            ModelArguments(model_type=fields.get("model_type", "waveunet"), model_config=fields["model_config"])
        )
        batch = build_training_set(data, model.config, examples=2)
        examples = [batch[i % 2] for i in range(300)]
        trainer = SeparationTrainer(model=model, args=arguments, train_dataset=examples)
        trainer.train()
        losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
        assert np.mean(losses[-5:]) < 0.25 * losses[0]

    @pytest.mark.parametrize(("kind", "model_class"), [("dae", DAEModel), ("dvae", DVAEModel)])
    def test_autoencoders_train_on_the_same_data(self, corpus, tmp_path, kind, model_class):
        model = run(corpus, tmp_path / "run", model_type=kind, model_class=model_class, **SPECTRAL)
        assert set(model.separate(torch.randn(1, 1000), RATE)) == {"foreground", "background"}
        assert json.loads((tmp_path / "run" / "preprocessor_config.json").read_text())["n_fft"] == 64

    def test_the_papers_variants(self):
        model = build_model(ModelArguments(paper_variant="M7", model_config={"num_layers": 2}))
        expected = WaveUNetConfig.paper("M7", num_layers=2)
        assert model.config.to_diff_dict() == {**expected.to_diff_dict(), **model.config.to_diff_dict()}
        assert (model.config.sampling_rate, model.config.channel_growth) == (8192, 34)


class TestTrainersOptions:
    def test_accumulated_steps_equal_one_large_one(self, corpus, tmp_path):
        plain = {"max_steps": 1, "optim": "sgd", "learning_rate": 0.1, "eval_clips": 0}
        plain["lr_scheduler_type"] = "constant"
        large = run(corpus, tmp_path / "large", per_device_train_batch_size=16, **plain)
        small = run(corpus, tmp_path / "small", per_device_train_batch_size=4, gradient_accumulation_steps=4, **plain)
        before = build_model(ModelArguments(model_config=recipe(corpus, tmp_path)["model_config"]))
        assert_equal_weights(large, small, rtol=1e-4, atol=2e-5)
        moved = [not torch.equal(a, b) for a, b in zip(before.parameters(), large.parameters())]
        assert all(moved)

    @pytest.mark.parametrize(
        "options",
        [{"gradient_checkpointing": True}, {"torch_compile": True, "torch_compile_backend": "aot_eager"}],
        ids=["gradient checkpointing", "torch.compile"],
    )
    def test_the_same_weights_with(self, corpus, tmp_path, options):
        common = {"max_steps": 2, "optim": "sgd", "eval_clips": 0}
        plain = run(corpus, tmp_path / "plain", **common)
        other = run(corpus, tmp_path / "other", **common, **options)
        assert_equal_weights(plain, other, rtol=1e-4, atol=1e-5)

    def test_bf16_is_near_float32(self, corpus, tmp_path):
        common = {"max_steps": 2, "logging_steps": 1, "eval_clips": 0}
        run(corpus, tmp_path / "plain", **common)
        run(corpus, tmp_path / "bf16", bf16=True, **common)
        plain, half = logged(tmp_path / "plain"), logged(tmp_path / "bf16")
        assert half == pytest.approx(plain, rel=0.05) and half != plain

    @pytest.mark.parametrize(("quick", "bf16"), [(False, True), (False, False), (True, True)])
    def test_slow_bfloat16_is_told(self, corpus, tmp_path, monkeypatch, caplog, quick, bf16):
        monkeypatch.setattr("dse_hf.training.run.computes_bfloat16_quickly", lambda: quick)
        run(corpus, tmp_path / "run", max_steps=1, eval_clips=0, bf16=bf16)
        assert ("add --bf16 false" in caplog.text) == (bf16 and not quick)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    @pytest.mark.parametrize("options", [{}, {"bf16": True}], ids=["float32", "bf16"])
    def test_a_gpu_learns_the_same(self, corpus, tmp_path, options):
        common = {"max_steps": 2, "logging_steps": 1, "eval_clips": 1}
        run(corpus, tmp_path / "cpu", **common)
        run(corpus, tmp_path / "gpu", **common, **options, use_cpu=False)
        assert logged(tmp_path / "gpu") == pytest.approx(logged(tmp_path / "cpu"), rel=0.05)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    def test_fp16_learns_on_a_gpu(self, corpus, tmp_path):
        """Not from the first step on: losses are scaled by 65536 at first, and steps that overflow are left out."""
        common = {"logging_steps": 1, "eval_clips": 0}
        run(corpus, tmp_path / "cpu", max_steps=1, **common)
        run(corpus, tmp_path / "gpu", max_steps=20, fp16=True, use_cpu=False, **common)
        assert logged(tmp_path / "gpu")[0] == pytest.approx(logged(tmp_path / "cpu")[0], rel=0.05)
        assert np.isfinite(logged(tmp_path / "gpu", "grad_norm")[-5:]).all()

    def test_early_stopping_and_the_best_model_at_the_end(self, corpus, tmp_path):
        options = {
            "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1, "load_best_model_at_end": True,
            "metric_for_best_model": "si_sdr", "early_stopping_patience": 2, "max_steps": 20,
            "learning_rate": 5.0, "max_grad_norm": 0, "optim": "sgd", "lr_scheduler_type": "constant",
        }  # fmt: skip
        run(corpus, tmp_path / "run", **options)
        scores = logged(tmp_path / "run", "eval_si_sdr")
        assert len(scores) < 20 and max(scores[-2:]) < max(scores)  # it got worse, and stopped
        final = json.loads((tmp_path / "run" / "validation_results.json").read_text())["eval_si_sdr"]
        assert final == pytest.approx(max(scores), abs=1e-3)

    def test_the_learning_rate_falls_on_a_plateau(self, corpus, tmp_path):
        options = {
            "eval_strategy": "steps", "eval_steps": 1, "logging_steps": 1, "lr_scheduler_type": "reduce_lr_on_plateau",
            "lr_scheduler_kwargs": {"patience": 0, "factor": 0.5, "threshold": 1e9}, "eval_clips": 0,
        }  # fmt: skip
        run(corpus, tmp_path / "run", **options)
        rates = logged(tmp_path / "run", "learning_rate")
        assert rates[-1] == pytest.approx(rates[0] / 4) or rates[-1] < rates[0]

    def test_tensorboard_has_scalars_sound_and_spectrograms(self, corpus, tmp_path):
        options = {"report_to": ["tensorboard"], "eval_strategy": "steps", "eval_steps": 2, "logging_steps": 1}
        run(corpus, tmp_path / "run", log_audio_clips=1, **options)
        events = min((tmp_path / "run" / "runs").rglob("events*"))  # the final evaluation has a file of its own
        accumulator = EventAccumulator(str(events), size_guidance={"audio": 0, "images": 0})
        accumulator.Reload()
        tags = accumulator.Tags()
        assert {"train/loss", "eval/si_sdr"} <= set(tags["scalars"])
        sounds = {"mixture", "foreground", "foreground, reference", "background", "background, reference"}
        assert {tag.removesuffix("/audio_summary") for tag in tags["audio"]} == {f"clip 0/{name}" for name in sounds}
        assert tags["images"] == ["clip 0"]
        assert accumulator.Audio("clip 0/mixture")[0].sample_rate == RATE

    @pytest.mark.parametrize("deterministic", [False, True])
    def test_cudnn_searches_for_kernels_while_training_only(
        self, corpus, tmp_path, monkeypatch, forwards, deterministic
    ):
        monkeypatch.setattr(torch.backends.cudnn, "deterministic", deterministic)
        run(corpus, tmp_path / "run", max_steps=2, eval_clips=0)
        searches = {(trains, benchmark) for trains, _, benchmark in forwards}
        assert searches == {(True, not deterministic), (False, False)} and not torch.backends.cudnn.benchmark


class TestNoiseSwaps:
    def sources(self):
        """Six mixtures of SNRs and levels apart; the first has no background, the second no foreground."""
        labels = 0.05 * torch.randn(6, 2, 2, 4000, generator=torch.Generator().manual_seed(0))
        labels[:, 1] *= 10 ** (-torch.linspace(-9, 9, 6)[:, None, None] / 20)
        labels[0, 1] = labels[1, 0] = 0
        return labels * torch.linspace(0.1, 2, 6)[:, None, None, None]

    def test_every_mixture_has_another_background_as_loud(self):
        labels = self.sources()
        made = swap_noises(labels, 3)
        assert made.shape == (24, 2, 2, 4000) and torch.equal(made[:6], labels)
        copies = made[6:].view(3, 6, 2, 8000)
        torch.testing.assert_close(copies[:, :, 0], labels[:, 0].flatten(1).expand(3, 6, 8000))
        backgrounds, own = copies[:, 1:, 1], labels[1:, 1].flatten(1)
        assert (copies[:, 0, 1] == 0).all()  # what was clean stays clean
        torch.testing.assert_close(backgrounds.norm(dim=-1), own.norm(dim=-1).expand(3, 5))
        likeness = torch.nn.functional.normalize(backgrounds, dim=-1) @ torch.nn.functional.normalize(own, dim=-1).T
        found = likeness.argmax(dim=-1)  # of which row each is, (3, 5)
        assert likeness.amax(dim=-1).min() > 0.99
        assert all(sorted(rows) == [0, 1, 2, 3, 4] for rows in found.tolist())
        pairs = [{row, *column} for row, column in enumerate(found.T.tolist())]
        assert all(len(pair) == 4 for pair in pairs)  # its own, and three others

    def test_nothing_clips(self):
        labels = self.sources()
        labels[2, 0, :, 100] = 0.9
        labels[3, 1, :, 100] = 0.5
        made = swap_noises(labels, 4)
        assert made.sum(dim=1).abs().max() < 1
        assert made[6:].sum(dim=1).abs().amax() == pytest.approx(0.99, rel=1e-5)

    @pytest.mark.parametrize(("rows", "copies"), [([0], 0), ([0, 2], 0), ([0, 2, 3], 1)])
    def test_no_more_than_there_are_backgrounds(self, rows, copies):
        assert len(swap_noises(self.sources()[rows], 5)) == len(rows) * (1 + copies)

    def test_training_takes_them_and_evaluation_does_not(self, corpus, tmp_path, forwards):
        common = {"max_steps": 2, "optim": "sgd", "per_device_train_batch_size": 4, "logging_steps": 1}
        run(corpus, tmp_path / "plain", **common)
        plain, forwards[:] = list(forwards), []
        run(corpus, tmp_path / "swapped", noise_swaps=2, **common)
        sizes = [
            [[row[1] for row in rows if row[0] == trains] for trains in (True, False)] for rows in (plain, forwards)
        ]
        assert (sizes[0][0], sizes[1][0]) == ([4, 4], [12, 12])
        assert sizes[0][1] == sizes[1][1]
        assert logged(tmp_path / "plain") != logged(tmp_path / "swapped")


class TestCheckpoints:
    def test_killed_and_resumed_equals_never_killed(self, corpus, tmp_path):
        options = {
            "max_steps": 40, "save_steps": 4, "save_total_limit": 3, "eval_clips": 0, "model_type": "dae", **SPECTRAL,
            "model_config": {**AUTOENCODER, "dropout": 0.5, "sampling_rate": RATE},
        }  # fmt: skip
        whole = run(corpus, tmp_path / "whole", model_class=DAEModel, **options)
        path = write_recipe(corpus, tmp_path / "killed", **options)
        process = subprocess.Popen(
            [sys.executable, "-m", "dse_hf.training.run", str(path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        while last_complete_checkpoint(tmp_path / "killed") is None:
            assert process.poll() is None, "the run ended before it was killed"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (tmp_path / "killed" / "model.safetensors").exists()
        assert main([str(path)]) == 0
        assert_equal_weights(whole, DAEModel.from_pretrained(tmp_path / "killed"), rtol=1e-5, atol=1e-6)

    def test_a_half_written_checkpoint_is_not_gone_on_from(self, corpus, tmp_path):
        whole = run(corpus, tmp_path / "run")
        (tmp_path / "run" / "checkpoint-4" / "trainer_state.json").write_text('{"epoch": ')
        assert last_complete_checkpoint(tmp_path / "run") == str(tmp_path / "run" / "checkpoint-2")
        assert_equal_weights(whole, run(corpus, tmp_path / "run"), rtol=1e-5, atol=1e-6)

    def test_a_full_disk_loses_no_earlier_checkpoint(self, corpus, tmp_path, monkeypatch, capsys):
        save = torch.save

        def save_until_full(content, path, *args, **kwargs):
            if "checkpoint-4" in str(path) and "optimizer" in str(path):
                Path(path).write_bytes(b"half")
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            save(content, path, *args, **kwargs)

        whole = run(corpus, tmp_path / "whole", save_total_limit=1)
        path = write_recipe(corpus, tmp_path / "run", save_total_limit=1)
        with monkeypatch.context() as patch:
            patch.setattr(torch, "save", save_until_full)
            assert main([str(path)]) == 1
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert "No space left" in message and "earlier checkpoints are kept" in message
        assert [path.name for path in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-2"]
        assert main([str(path)]) == 0
        assert_equal_weights(whole, WaveUNetModel.from_pretrained(tmp_path / "run"), rtol=1e-5, atol=1e-6)


def in_two_processes(*arguments) -> str:
    """Runs a script, or `-m module`, with arguments. Returns what it wrote."""
    # Standalone: processes meet at a free port, because other tests run beside this one.
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_two_processes_learn_as_one_with_twice_the_batch(corpus, tmp_path):
    options = {"logging_steps": 1, "optim": "sgd", "max_steps": 3, "save_steps": 3, "eval_clips": 3}
    one = run(corpus, tmp_path / "one", per_device_train_batch_size=4, **options)
    path = write_recipe(corpus, tmp_path / "two", per_device_train_batch_size=2, ddp_backend="gloo", **options)
    in_two_processes("-m", "dse_hf.training.run", path)
    assert logged(tmp_path / "two") == pytest.approx(logged(tmp_path / "one"), rel=1e-3)
    assert_equal_weights(one, WaveUNetModel.from_pretrained(tmp_path / "two"), rtol=1e-4, atol=1e-6)
    results = [json.loads((tmp_path / name / "validation_results.json").read_text()) for name in ("one", "two")]
    assert results[0]["eval_si_sdr"] == pytest.approx(results[1]["eval_si_sdr"], abs=1e-2)


def test_processes_share_a_stream(corpus, tmp_path):
    # Each clip is a constant of its own, so that an example tells which clip it is of.
    folder = tmp_path / "pairs" / "train"
    for side in ("noisy", "clean"):
        (folder / side).mkdir(parents=True)
        for number in range(8):
            soundfile.write(folder / side / f"{number}.wav", np.full(RATE, (number + 1) / 10), RATE, subtype="FLOAT")
    options = {"dataset": str(tmp_path / "pairs"), "streaming": True, "augment": False, "max_steps": 2}
    fields = recipe(corpus, tmp_path / "run", **options, dataloader_num_workers=1, ddp_backend="gloo")
    del fields["speech_dataset"], fields["noise_dataset"]
    (tmp_path / "run.json").write_text(json.dumps(fields))
    code = """
        import sys
        from dse_hf.data import build_training_set
        from dse_hf.training.arguments import parse_arguments
        from dse_hf.training.run import build_model, examples_of
        from dse_hf.training.trainer import SeparationTrainer
        model, data, arguments = parse_arguments(sys.argv[1:])
        arguments.remove_unused_columns = False
        model = build_model(model)
        examples = build_training_set(data, model.config, examples=examples_of(arguments), seed=0)
        loader = SeparationTrainer(model=model, args=arguments, train_dataset=examples).get_train_dataloader()
        clips = [round(10 * float(row.mean())) for batch in loader for row in batch["input_values"]]
        sys.stdout.write(f"{arguments.process_index}:{clips}\\n")
    """
    (tmp_path / "share.py").write_text(textwrap.dedent(code))
    output = in_two_processes(tmp_path / "share.py", tmp_path / "run.json")
    shares = [json.loads(line.partition(":")[2]) for line in sorted(output.split("\n")) if ":[" in line]
    assert [len(share) for share in shares] == [4, 4]
    assert sorted(shares[0] + shares[1]) == list(range(1, 9))


class TestArguments:
    @pytest.mark.parametrize(
        "lines",
        [
            "snr_low: -3\naugment: false\nspeaker_balancing: 5e-1\nmodel: a\nlosses: [l1, 'mse:2']\nnoise_swaps: 2\n",
            "mixing: {snr_low: -3, augment: false}\nspeech_augmentation:\n  speaker_balancing: 0.5\nhub:\n"
            "model: {model: a}\ntraining: {losses: [l1, 'mse:2'], noise_swaps: 2}\n",
            "snr_low: -3\naugment: false\nspeaker_balance: 0.5\nmodel: a\nlosses: [l1, 'mse:2']\n",
        ],
        ids=["flat", "sections", "former names"],
    )
    def test_a_recipe_is_flat_or_in_sections_and_options_override_it(self, tmp_path, caplog, lines):
        (tmp_path / "recipe.yaml").write_text(
            f"{lines}output_dir: c\nuse_cpu: true\nlearning_rate: 1e-3\nsnr_high: 0\n"
        )
        options = ["--background-exchanges=2"] if "speaker_balance:" in lines else []
        model, data, training = parse_arguments([str(tmp_path / "recipe.yaml"), "--snr_high", "1.5", *options])
        assert (data.snr_low, data.snr_high, data.augment, data.speaker_balancing) == (-3, 1.5, False, 0.5)
        assert (training.learning_rate, training.losses, training.noise_swaps) == (1e-3, ["l1", "mse:2"], 2)
        assert model.model == "a" and not training.dataloader_pin_memory
        assert ("background_exchanges is now called noise_swaps" in caplog.text) == bool(options)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("learning_rat: 1\n", "'learning_rat' is not an option"),
            ("mixng: {snr_low: 1}\n", "'mixng' is neither an option nor a section; the sections are model, datasets,"),
            ("training: {snr_low: 1}\n", "snr_low is in the section training, but belongs to mixing"),
            ("mixing: {snr_low: 1}\nsnr_low: 2\n", "snr_low is given twice"),
            ("mixing: 3\n", "mixing is a section; write its options below it"),
            ("learning_rate: fast\n", "learning_rate: 'fast' is not a number"),
            (None, "No such file"),
            ("- a list\n", "holds no options"),
            ("a: [\n", "cannot be read"),
            ("output_dir: c\nuse_cpu: true\nmodel_config: {num_layers: 99}\n", "num_layers=99: must be between"),
            ("output_dir: c\nuse_cpu: true\nmodel_type: unet\n", "model_type='unet': choose among waveunet, dae"),
            ("output_dir: c\nuse_cpu: true\npaper_variant: M9\n", "M9"),
            ("output_dir: c\nuse_cpu: true\nmodel: waveunet-speech-16khz\npaper_variant: M1\n", "leave out"),
            ("output_dir: c\nuse_cpu: true\n", "missing; give dataset"),
        ],
    )
    def test_a_bad_recipe_is_one_line(self, tmp_path, capsys, monkeypatch, content, message):
        monkeypatch.chdir(tmp_path)
        path = tmp_path / "recipe.yaml"
        if content:
            path.write_text(content)
        assert main([str(path)]) == 1
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("dse-hf train: ") and message in error

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"model_type": "dae", **SPECTRAL, "losses": ["l1"]}, "a dae has its own loss"),
            ({"early_stopping_patience": 2}, "early_stopping_patience=2 needs load_best_model_at_end"),
            ({"noise_swaps": 2}, "noise_swaps=2: must be from 0 to 1, per_device_train_batch_size less 1"),
            ({"resume_from_checkpoint": "nowhere"}, "nowhere"),
        ],
    )
    def test_options_that_do_not_fit_are_refused(self, corpus, tmp_path, capsys, fields, message):
        assert main([str(write_recipe(corpus, tmp_path / "run", **fields))]) == 1
        assert message in capsys.readouterr().err

    def test_a_model_config_on_the_command_line(self):
        options = ["--output_dir", "runs/x", "--use_cpu", "--model_config"]
        assert parse_arguments([*options, '{"num_layers": 3}'])[0].model_config == {"num_layers": 3}
        with pytest.raises(ValueError, match="model_config='3': is not a JSON object"):
            parse_arguments([*options, "3"])

    def test_a_run_does_not_write_into_the_package(self, capsys):
        folder = Path(dse_hf.__file__).parent / "pretrained" / "mine"
        assert main(["--output_dir", str(folder), "--use_cpu"]) == 1
        assert "lies in the package dse_hf" in capsys.readouterr().err and not folder.exists()

    def test_help_is_for_people(self, capsys):
        for option, known, unknown in (("--help", "--snr_low", "--adam_beta1"), ("--help_all", "--adam_beta1", None)):
            with pytest.raises(SystemExit) as exit:
                main([option])
            text = capsys.readouterr().out
            assert exit.value.code == 0 and known in text and (unknown is None or unknown not in text)
            assert "--losses" in text and "--max_steps" in text
            sections = [line for line in text.splitlines() if re.fullmatch(r"[a-z_]+:", line)]
            assert sections == ["options:", *(f"{name}:" for name in SECTIONS)]
            assert ("--snr-low" in text) == (option == "--help_all")  # one spelling is enough for people
