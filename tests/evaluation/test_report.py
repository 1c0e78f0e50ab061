import json

import numpy as np
import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import ModelCardData

from dse_hf.evaluation import evaluate
from dse_hf.evaluation.model_index import eval_results, model_index
from dse_hf.evaluation.report import improvement_by_level, notable_clips, slug, write_report
from dse_hf.evaluation.summary import bootstrap_interval, summarize
from dse_hf.evaluation.systems import load_system
from dse_hf.evaluation.tables import difference_table, markdown_table, not_scored, report_markdown
from tests.evaluation.test_evaluation import Damped, four_clips


def record(name, si_sdr, improvement, pesq=1.5, **attributes):
    scores = {"si_sdr": si_sdr, "si_sdr_improvement": improvement, "pesq": pesq}
    reasons = {"foreground": {"pesq": "too little speech"}} if pesq is None else {}
    return {
        "name": name,
        "attributes": attributes,
        "scores": {"foreground": scores, "background": {"si_sdr": -si_sdr}},
        "not_scored": reasons,
    }


def results_of(sampling_rate=16000, **clips):
    sources = ["foreground", "background"]
    dataset = {"name": "set", "split": "test", "clips": 2, "seconds": 12.0, "fingerprint": "abc"}
    return {
        "models": {name: {**summarize(records, sources), "clips": records} for name, records in clips.items()},
        "dataset": {**dataset, "sampling_rate": sampling_rate, "sources": sources},
        "versions": {"torch": "1"},
        "hardware": "a machine",
    }


@pytest.fixture
def results():
    results = results_of(
        input=[record("a", 0.0, 0.0, 1.0, snr=0, kind="train"), record("b", 5.0, 0.0, 2.0, snr=5, kind="train")],
        ours=[record("a", 8.04, 8.04, 1.1, snr=0, kind="train"), record("b", 10.0, 5.0, None, snr=5, kind="train")],
    )
    results["models"]["unfinished"] = {"clips": [record("a", 99.0, 99.0)]}
    return results


def test_the_table_has_a_row_for_each_complete_system(results):
    assert markdown_table(results).splitlines() == [
        "| | SI-SDR (dB) | SI-SDR improvement (dB) | PESQ-WB |",
        "|---|---|---|---|",
        "| input | 2.5 | 0.0 | 1.50 |",
        "| ours | 9.0 | 6.5 | 1.10 |",
    ]


def test_the_table_by_snr_has_rows_for_each_and_for_all(results):
    assert markdown_table(results, by="snr").splitlines() == [
        "| input SNR | | SI-SDR (dB) | SI-SDR improvement (dB) | PESQ-WB |",
        "|---|---|---|---|---|",
        "| 0 dB | input | 0.0 | 0.0 | 1.00 |",
        "| | ours | 8.0 | 8.0 | 1.10 |",
        "| 5 dB | input | 5.0 | 0.0 | 2.00 |",
        "| | ours | 10.0 | 5.0 | – |",
        "| all | input | 2.5 | 0.0 | 1.50 |",
        "| | ours | 9.0 | 6.5 | 1.10 |",
    ]
    assert "| train | input |" in markdown_table(results, by="kind")


def test_tables_of_intervals_and_of_other_sources(results):
    assert "| ours | 9.0 [8.0, 10.0] |" in markdown_table(results, statistic="interval")
    assert markdown_table(results, source="background").splitlines()[2:] == ["| input | -2.5 |", "| ours | -9.0 |"]
    assert "PESQ-NB" in markdown_table(results_of(8000, ours=[record("a", 1.0, 1.0)]))


def test_differences_are_taken_clip_by_clip():
    rng = np.random.default_rng(0)
    inputs, ours = 10 * rng.standard_normal(40), 1 + 0.1 * rng.standard_normal(40)
    results = results_of(
        theirs=[record(f"{i}", inputs[i], 0.0, None if i == 3 else 1.0) for i in range(40)],
        unscored=[record(f"{i}", 0.0, 0.0, None) for i in range(40)],
        ours=[record(f"{i}", inputs[i] + ours[i], 0.0, 5.0 if i == 3 else 1.25) for i in reversed(range(40))],
    )
    heading, _, theirs, unscored = difference_table(results).splitlines()
    assert heading == "| ahead of | SI-SDR (dB) | PESQ-WB |"
    low, high = bootstrap_interval(ours)
    assert 0.9 < low < high < 1.1
    assert theirs == f"| theirs | {ours.mean():+.2f} [{low:+.2f}, {high:+.2f}] | +0.250 [+0.250, +0.250] |"
    assert unscored.endswith("| – |")
    assert "How far ours is ahead" in report_markdown(results) and theirs in report_markdown(results)
    del results["models"]["theirs"], results["models"]["unscored"]
    assert "ahead" not in report_markdown(results)


def test_the_report_says_what_was_not_scored(results):
    line = "- ours, PESQ of the foreground: 1 of 2 (1 too little speech)"
    assert not_scored(results).splitlines()[1:] == [line]
    report = report_markdown(results)
    assert report.startswith("# set, 2 clips, 0.2 minutes\n")
    for text in (line, "Median:", "Mean by noise:", "Scores of the background", "abc", "torch 1"):
        assert text in report
    assert not_scored(results_of(ours=[record("a", 1.0, 1.0)])) == ""


def test_improvement_is_by_snr_or_by_the_inputs_level(results):
    series, title = improvement_by_level(results)
    assert title == "input SNR (dB)" and list(series) == ["ours"]
    assert [point[:2] for point in series["ours"]] == [(0.0, 8.04), (5.0, 5.0)]
    unlabelled = [record("a", 9.0, 10.0), record("b", 10.0, 9.0), record("c", 14.0, 3.0)]
    series, title = improvement_by_level(results_of(ours=unlabelled))
    assert "SI-SDR of the input" in title
    assert [point[:2] for point in sorted(series["ours"])] == [(0.0, 9.5), (10.0, 3.0)]


def test_notable_clips_are_those_of_highest_middle_and_lowest_improvement():
    records = [record(name, 0.0, value) for name, value in zip("abcde", (3, 9, 1, None, 5))]
    assert notable_clips(records) == {"best": "b", "median": "a", "worst": "c"}
    assert notable_clips(records[3:4]) == {}


def test_the_model_index_is_read_back_from_a_card(results, tmp_path):
    data = ModelCardData(model_name="ours", eval_results=eval_results(results, "ours"))
    (tmp_path / "README.md").write_text(f"---\n{data.to_yaml()}\n---\n")
    read = ModelCard.load(tmp_path / "README.md").data.eval_results
    assert {x.metric_type: x.metric_value for x in read} == {"si_sdr": 9.02, "si_sdr_improvement": 6.52, "pesq": 1.1}
    assert read[0].dataset_split == "test" and read[0].task_type == "audio-to-audio"
    assert model_index(results, "ours") == data.to_dict()["model-index"]
    with pytest.raises(ValueError, match="'unfinished': not in these results; they have input, ours"):
        eval_results(results, "unfinished")


def test_the_folder_of_a_report(tmp_path, quick_metrics):
    systems = [load_system("input"), Damped("owner/ours", "1"), Damped("worse", "1", leak=0.5)]
    results = evaluate(systems, four_clips, tmp_path, description={"name": "four"})
    files = write_report(results, systems, four_clips, tmp_path)
    pictures = [
        f"spectrograms/{x}.{rank}.png" for x in ("owner--ours", "worse") for rank in ("best", "median", "worst")
    ]
    assert files == ["table.md", "model-index.json", "improvement.png", *pictures]
    assert sorted(str(x.relative_to(tmp_path)) for x in tmp_path.rglob("*.*")) == sorted([*files, "results.json"])
    assert all((tmp_path / x).read_bytes()[:4] == b"\x89PNG" for x in files if x.endswith(".png"))
    assert (tmp_path / "table.md").read_text() == report_markdown(results)
    assert list(json.loads((tmp_path / "model-index.json").read_text())) == ["owner/ours", "worse"]


def test_the_picture_has_a_line_for_each_system(results):
    from dse_hf.evaluation.figures import improvement_figure

    series, title = improvement_by_level(results)
    series["theirs"] = [(0.0, 2.0, (1.0, 4.0))]
    (axis,) = improvement_figure(series, title).axes
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["ours", "theirs"]
    heights = [container.lines[0].get_ydata() for container in axis.containers]
    np.testing.assert_allclose(np.concatenate(heights), [8.04, 5.0, 2.0])
    (low, high) = axis.containers[1].lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == (1.0, 4.0)


def test_names_fit_for_files():
    assert slug("owner/name") == "owner--name" and slug("../a b") == "a--b" and slug("..") == "model"
