"""`clean_dataset` on datasets that are loaded or streamed."""

import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict

from dse_hf import WaveUNetConfig, WaveUNetModel
from dse_hf.cleaning.options import CleaningOptions
from dse_hf.cleaning.rows import RowCleaner
from dse_hf.data import clean_dataset

from ..cleaning.datasets import FEATURES, row, rows


@pytest.fixture(scope="module")
def model():
    return WaveUNetModel(WaveUNetConfig(num_layers=1, channel_growth=4, sampling_rate=16000)).eval()


@pytest.fixture
def dataset():
    return Dataset(pa.Table.from_pylist(rows(range(6)), schema=FEATURES.arrow_schema))


def test_a_dataset_composes(model, dataset):
    cleaned = clean_dataset(DatasetDict(train=dataset), model, background_column="noise", batch_size=4)["train"]
    assert cleaned.column_names == [*FEATURES, "noise", "clean_error"]
    assert {name: cleaned.features[name] for name in FEATURES} == FEATURES
    table = cleaned.filter(lambda error: error is None, input_columns="clean_error").with_format("arrow")[:]
    assert table["id"].to_pylist() == [0, 1, 2, 4, 5]
    expected = RowCleaner(model, CleaningOptions())([row(4)["audio"]])[0].audio
    assert table["audio"].to_pylist()[3] == expected


def test_a_stream_is_cleaned_while_it_is_read(model, dataset):
    stream = clean_dataset(dataset.to_iterable_dataset(), model, column="audio")
    assert stream.features["audio"] == FEATURES["audio"]
    found = list(stream.decode(False).filter(lambda row: row["id"] > 3))
    whole = clean_dataset(dataset, model).with_format("arrow")[:]
    assert [row["audio"] for row in found] == whole["audio"].to_pylist()[4:]


def test_strict_and_a_missing_column(model, dataset):
    with pytest.raises(ValueError, match="empty: is null; repair or remove it"):
        clean_dataset(dataset, model, strict=True)
    with pytest.raises(ValueError, match="has no column 'sound'"):
        clean_dataset(dataset, model, column="sound")
