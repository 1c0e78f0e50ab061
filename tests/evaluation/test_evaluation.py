import json
from dataclasses import dataclass, field

import numpy as np
import pytest

from dse_hf import WaveUNetConfig, WaveUNetModel
from dse_hf.data import Clip
from dse_hf.evaluation import evaluate
from dse_hf.evaluation import results as results_file
from dse_hf.evaluation.summary import bootstrap_interval, summarize
from dse_hf.evaluation.systems import System, load_system
from dse_hf.evaluation.workers import EvaluationError, _Worker


pytestmark = pytest.mark.usefixtures("quick_metrics")


def make_clip(number, snr=0.0, kind="machine", length=800, seed=0):
    """Noise in noise: quick, as PESQ and STOI find no speech in it."""
    rng = np.random.default_rng((seed, number))
    speech, noise = rng.normal(size=(2, 1, length)) * 0.1
    references = np.stack([speech, noise * 10 ** (-snr / 20)]).astype(np.float32)
    return Clip(f"clip-{number}", references.sum(axis=0), references, {"snr": snr, "kind": kind})


def four_clips(seed=0):
    return (make_clip(n, snr=(0.0, 10.0)[n % 2], kind=("machine", "music")[n // 2], seed=seed) for n in range(4))


@dataclass
class Damped(System):
    """Takes the reference that it is told of, and leaves `leak` of the noise."""

    leak: float = 0.1
    fails_at: str | None = None
    error: type = RuntimeError
    calls: list = field(default_factory=list)

    def separate(self, mixture, sampling_rate, sources):
        (clip,) = (clip for clip in four_clips() if np.array_equal(clip.mixture, mixture))
        if clip.name == self.fails_at:
            raise self.error("out of luck")
        self.calls.append(clip.name)
        foreground = clip.references[0] + self.leak * clip.references[1]
        return {sources[0]: foreground, sources[1]: mixture - foreground}


def load(folder):
    return json.loads((folder / "results.json").read_text())


# ── Scores ──


def test_every_clip_is_scored_and_summed_up(tmp_path):
    seen = []
    systems = [load_system("input"), Damped("ours", "1")]
    results = evaluate(systems, four_clips, tmp_path / "new" / "folder", progress=lambda *x: seen.append(x))
    assert results == load(tmp_path / "new" / "folder")
    assert seen == [(n, 8) for n in range(1, 9)]
    assert results["dataset"]["clips"] == 4 and results["dataset"]["seconds"] == 0.2
    ours, unprocessed = results["models"]["ours"], results["models"]["input"]
    for record, clip in zip(ours["clips"], four_clips()):
        assert record["name"] == clip.name and record["attributes"] == clip.attributes
        # The leak is 20 dB below the noise, but for the two signals' correlation.
        assert record["scores"]["foreground"]["si_sdr_improvement"] == pytest.approx(20, abs=1.5)
        assert record["scores"]["foreground"]["pesq"] is None
        assert "pesq" not in record["scores"]["background"]
    values = [record["scores"]["foreground"]["si_sdr"] for record in ours["clips"]]
    assert ours["mean"]["si_sdr"] == pytest.approx(np.mean(values), abs=1e-4)
    assert ours["median"]["si_sdr"] == pytest.approx(np.median(values), abs=1e-4)
    assert unprocessed["mean"]["si_sdr"] == pytest.approx(5, abs=0.5)
    assert unprocessed["mean"]["si_sdr_improvement"] == 0
    by_snr = ours["groups"]["snr"]
    assert list(by_snr) == ["0", "10"] and by_snr["10"]["count"] == 2
    assert by_snr["10"]["mean"]["si_sdr"] == pytest.approx((values[1] + values[3]) / 2, abs=1e-4)
    assert ours["groups"]["kind"]["music"]["mean"]["si_sdr"] == pytest.approx((values[2] + values[3]) / 2, abs=1e-4)
    assert ours["other_sources"]["background"]["mean"]["si_sdr"] > 10
    assert ours["not_scored"]["stoi"] == {"too little speech": 4} and ours["mean"]["stoi"] is None
    assert {"torch", "pesq", "dse-hf"} <= set(results["versions"])


def test_the_file_has_a_line_for_each_clip(tmp_path):
    evaluate([load_system("input")], four_clips, tmp_path)
    lines = (tmp_path / "results.json").read_text().splitlines()
    assert [sum(f'"name": "clip-{n}"' in line for line in lines) for n in range(4)] == [1] * 4


def test_silent_clips_are_left_out_and_counted(tmp_path):
    def clips():
        yield make_clip(0)
        silent = make_clip(1)
        silent.references[0] = 0
        yield silent

    entry = evaluate([load_system("input")], clips, tmp_path)["models"]["input"]
    assert entry["not_scored"]["si_sdr"] == {"silent reference": 1}
    assert entry["mean"]["si_sdr"] == entry["clips"][0]["scores"]["foreground"]["si_sdr"]
    assert entry["other_sources"]["background"]["not_scored"] == {}


def test_clips_of_one_name_are_numbered_and_columns_are_not_all_recorded(tmp_path):
    def clips():
        for number, snr in enumerate(("0", "5", "loud", float("inf"))):
            clip = make_clip(number)
            clip.name, clip.attributes = (
                f"/data/{number}/test/a.wav",
                {"snr": snr, "speaker": "b", "kind": None, "text": "private"},
            )
            yield clip
        yield Clip("test/a.wav #2", clip.mixture, clip.references)

    records = evaluate([load_system("input")], clips, tmp_path)["models"]["input"]["clips"]
    assert [x["name"] for x in records] == ["test/a.wav", *(f"test/a.wav #{n}" for n in (2, 3, 4)), "test/a.wav #2 #2"]
    speaker = {"speaker": "b"}
    assert [x["attributes"] for x in records] == [
        {"snr": 0.0, **speaker},
        {"snr": 5.0, **speaker},
        speaker,
        speaker,
        {},
    ]


def test_intervals_are_repeatable_and_cover_the_mean():
    values = np.random.default_rng(3).normal(5, 2, size=200)
    low, high = bootstrap_interval(values)
    assert (low, high) == bootstrap_interval(values)
    # The normal approximation of the same interval.
    error = 1.96 * values.std() / np.sqrt(200)
    assert low == pytest.approx(values.mean() - error, abs=0.08)
    assert high == pytest.approx(values.mean() + error, abs=0.08)
    assert bootstrap_interval(np.array([2.0])) == (2, 2)


def test_scores_of_one_kind_of_attribute_stay_apart():
    records = [
        {"attributes": {"snr": snr}, "scores": {"speech": {"sdr": snr}}, "not_scored": {}} for snr in (10.0, -5.0, 2.5)
    ]
    groups = summarize(records, ["speech"])["groups"]
    assert list(groups) == ["snr"] and list(groups["snr"]) == ["-5", "2.5", "10"]


# ── Going on ──


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, monkeypatch, error):
    broken = Damped("ours", "1", fails_at="clip-2", error=error)
    expected = EvaluationError if error is RuntimeError else error
    with pytest.raises(expected, match="out of luck") as raised:
        evaluate([load_system("input"), broken], four_clips, tmp_path)
    if error is RuntimeError:
        assert "model 'ours' failed on clip 'clip-2'" in str(raised.value)
    partial = load(tmp_path)
    assert [len(partial["models"][name]["clips"]) for name in ("input", "ours")] == [3, 2]
    assert "mean" not in partial["models"]["ours"]
    mended = Damped("ours", "1")
    seen = []
    results = evaluate([load_system("input"), mended], four_clips, tmp_path, progress=lambda *x: seen.append(x))
    assert mended.calls == ["clip-2", "clip-3"] and seen == [(6, 8), (7, 8), (8, 8)]
    assert results == evaluate([load_system("input"), Damped("ours", "1")], four_clips, tmp_path / "at-once")
    again = Damped("ours", "1")
    monkeypatch.setattr(results_file, "__version__", "later")  # did not score what is there
    assert evaluate([again], four_clips, tmp_path) == results and again.calls == []


def test_results_of_other_models_stay(tmp_path):
    evaluate([Damped("first", "1")], four_clips, tmp_path)
    results = evaluate([Damped("second", "1", leak=0.5)], four_clips, tmp_path)
    assert list(results["models"]) == ["first", "second"]
    assert results["models"]["first"]["mean"]["si_sdr"] > results["models"]["second"]["mean"]["si_sdr"] + 10


def test_a_model_that_has_changed_is_scored_anew(tmp_path):
    before = evaluate([Damped("ours", "1")], four_clips, tmp_path)["models"]["ours"]
    changed = Damped("ours", "2", leak=0.5)
    after = evaluate([changed], four_clips, tmp_path)["models"]["ours"]
    assert len(changed.calls) == 4 and after["mean"]["si_sdr"] < before["mean"]["si_sdr"] - 10


def test_scores_on_other_clips_are_not_mixed_in(tmp_path):
    measured = evaluate([load_system("input")], four_clips, tmp_path)["dataset"]["fingerprint"]
    before = (tmp_path / "results.json").read_bytes()
    one_sample = next(four_clips())
    one_sample.references[1, 0, 7] += 1e-7
    for other in (
        lambda: four_clips(seed=1),
        lambda: list(four_clips())[:3],
        lambda: [one_sample, *list(four_clips())[1:]],
    ):
        with pytest.raises(ValueError, match=f"has scores on other clips .4 with fingerprint {measured};"):
            evaluate([load_system("input")], other, tmp_path)
    with pytest.raises(ValueError, match="other clips"):
        evaluate([load_system("input")], four_clips, tmp_path, sampling_rate=8000)
    assert (tmp_path / "results.json").read_bytes() == before


@pytest.mark.parametrize("content", ["", "[]", '{"models": {}}', "no JSON"])
def test_a_file_that_is_no_results_is_refused(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match="is damaged, or no results; delete it"):
        evaluate([load_system("input")], four_clips, tmp_path)
    assert (tmp_path / "results.json").read_text() == content


def test_what_cannot_be_evaluated_is_refused(tmp_path):
    system = load_system("input")
    with pytest.raises(ValueError, match="'input': given twice"):
        evaluate([system, system], four_clips, tmp_path)
    with pytest.raises(ValueError, match="no clips"):
        evaluate([system], lambda: iter(()), tmp_path)
    with pytest.raises(ValueError, match=r"references of shape \(2, 1, 800\).*must be .* \(3, channels"):
        evaluate([system], four_clips, tmp_path, sources=["dialogue", "music", "effects"])
    with pytest.raises(ValueError, match="jobs=0"):
        evaluate([system], four_clips, tmp_path, jobs=0)
    assert list(tmp_path.iterdir()) == []


# ── Processes ──


def test_processes_give_the_scores_of_one(tmp_path):
    WaveUNetModel(WaveUNetConfig(num_layers=2, channel_growth=4, padding="same")).save_pretrained(tmp_path / "model")
    systems = [load_system("input"), load_system(str(tmp_path / "model"))]
    alone = evaluate(systems, four_clips, tmp_path / "one")
    assert evaluate(systems, four_clips, tmp_path / "two", jobs=2) == alone


def test_a_process_that_dies_is_no_endless_wait():
    worker = _Worker(b"", threads=1)
    worker.process.kill()
    worker.process.join()
    with pytest.raises(EvaluationError, match=r"was killed.*fewer --jobs"):
        worker.receive()
    with pytest.raises(EvaluationError, match="was killed"):
        worker.send("a task")
    worker.stop()
