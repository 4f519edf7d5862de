"""Tests of `monuseg.formats.manifest`."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monuseg.core.errors import PipelineError
from monuseg.formats.manifest import ImageRecord, SplitRecord, read_records, write_records

HASH = "0" * 64


HEADER = "id,organ,split,um_per_pixel,tiled_um_per_pixel,annotation\n"


def image(text: str = "a", organ: str = "lung") -> ImageRecord:
    return ImageRecord(
        text, organ, text.upper(), "train", 0.252, "tiff-tags", "aperio-xml", HASH, "f" * 64
    )


def test_records_come_back_as_they_were_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "manifest.csv"
    # What a table reader takes for numbers, nothing, truth, separators, line ends or padding.
    organs = [
        *("NA", "nan", "", "1e3", "True", 'a,"b', '"', "'", "#", " a ", "\xa0lung\xa0"),
        *("a\rb", "a\nb", "a\r\nb", "a\tb", "\x85", "\u2028", "-inf"),
    ]
    records = [image(str(number), organ) for number, organ in enumerate(organs)]
    records += [image(organ, "lung") for organ in organs]
    write_records(path, records)
    assert read_records(path, ImageRecord) == records


@given(
    text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
    um_per_pixel=st.floats(0.05, 10),
)
def test_any_text_and_number_comes_back(
    text: str, um_per_pixel: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "manifest.csv"
    records = [replace(image("a", text), patient=text, um_per_pixel=um_per_pixel), image("b")]
    write_records(path, records)
    assert read_records(path, ImageRecord) == records


def test_splits_are_written_as_documented(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    records = [SplitRecord("a", "liver", "validation", 0.25, 0.5, "aperio-xml")]
    write_records(path, records)
    assert path.read_text() == f"{HEADER}a,liver,validation,0.25,0.5,aperio-xml\n"
    assert read_records(path, SplitRecord) == records


def test_columns_are_found_by_name_and_others_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    path.write_text(
        "note,split,id,organ,annotation,tiled_um_per_pixel,um_per_pixel\n"
        "x,test,a,lung,aperio-xml,0.5,0.25\n"
    )
    assert read_records(path, SplitRecord) == [
        SplitRecord("a", "lung", "test", 0.25, 0.5, "aperio-xml")
    ]


def test_a_missing_column_is_named_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    path.write_text("id,organ,split,annotation\n")
    with pytest.raises(PipelineError, match=r"splits\.csv: no column 'um_per_pixel'; delete it"):
        read_records(path, SplitRecord)


@pytest.mark.parametrize("value", ["", "x", "nan", "inf", "-inf", "0", "-0.25", "1e999"])
@pytest.mark.parametrize("column", ["um_per_pixel", "tiled_um_per_pixel"])
def test_a_damaged_number_is_named_with_its_file(tmp_path: Path, column: str, value: str) -> None:
    path = tmp_path / "splits.csv"
    numbers = {"um_per_pixel": "0.25", "tiled_um_per_pixel": "0.25", column: value}
    path.write_text(f"{HEADER}a,lung,test,{','.join(numbers.values())},aperio-xml\n")
    with pytest.raises(PipelineError, match=rf"splits\.csv: image a: {column} is '{value}'; "):
        read_records(path, SplitRecord)


def test_a_split_knows_its_scale_and_whether_its_nuclei_are_told_apart() -> None:
    record = SplitRecord("a", "lung", "test", 0.25, 0.5, "label-map")
    assert (record.scale, record.tells_nuclei_apart) == (0.5, True)
    assert not replace(record, annotation="binary-mask").tells_nuclei_apart


@pytest.mark.parametrize("content", ["", "\x00", 'a,b\n"1,2\n'])
def test_a_damaged_table_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "splits.csv"
    path.write_text(content)
    with pytest.raises(PipelineError, match=r"splits\.csv: "):
        read_records(path, SplitRecord)
