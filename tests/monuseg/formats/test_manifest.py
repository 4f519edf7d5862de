"""Tests of `monuseg.formats.manifest`."""

from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.manifest import ImageRecord, SplitRecord, read_records, write_records

HASH = "0" * 64


def test_records_come_back_as_they_were_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "manifest.csv"
    # Ids and organs that a table reader takes for numbers, nothing or truth; and a separator.
    records = [
        ImageRecord(image_id, organ, "train", 0.252, "aperio-xml", HASH, HASH)
        for image_id, organ in [("007", "NA"), ("1e3", "nan"), ("True", ""), ('a,"b', "kidney")]
    ]
    records.append(ImageRecord("b", "lung", "test", 0.5, "binary-mask", HASH, "f" * 64))
    write_records(path, records)
    assert read_records(path, ImageRecord) == records


def test_splits_are_written_as_documented(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    records = [SplitRecord("a", "liver", "validation", 0.25, "aperio-xml")]
    write_records(path, records)
    assert path.read_bytes() == (
        b"id,organ,split,um_per_pixel,annotation\na,liver,validation,0.25,aperio-xml\n"
    )
    assert read_records(path, SplitRecord) == records


def test_columns_are_found_by_name_and_others_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    path.write_text("note,split,id,organ,annotation,um_per_pixel\nx,test,a,lung,aperio-xml,0.25\n")
    assert read_records(path, SplitRecord) == [SplitRecord("a", "lung", "test", 0.25, "aperio-xml")]


def test_a_missing_column_is_named_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    path.write_text("id,organ,split,annotation\n")
    with pytest.raises(PipelineError, match=r"splits\.csv: no column 'um_per_pixel'; delete it"):
        read_records(path, SplitRecord)


@pytest.mark.parametrize("value", ["", "x"])
def test_a_damaged_number_is_named_with_its_file(tmp_path: Path, value: str) -> None:
    path = tmp_path / "splits.csv"
    path.write_text(f"id,organ,split,um_per_pixel,annotation\na,lung,test,{value},aperio-xml\n")
    with pytest.raises(PipelineError, match=r"splits\.csv: .*um_per_pixel"):
        read_records(path, SplitRecord)


@pytest.mark.parametrize("content", ["", "\x00", 'a,b\n"1,2\n'])
def test_a_damaged_table_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "splits.csv"
    path.write_text(content)
    with pytest.raises(PipelineError, match=r"splits\.csv: "):
        read_records(path, SplitRecord)
