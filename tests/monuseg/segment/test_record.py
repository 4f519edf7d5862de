"""What stands of a file elsewhere is neither copied nor done again."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from monuseg.core.errors import PartlyFailedError
from monuseg.inference.sliding_window import Forward
from monuseg.segment import command
from monuseg.segment.command import segment_all
from monuseg.segment.inputs import inputs_of
from monuseg.segment.models import ModelChoice
from monuseg.segment.region import DrawnRegions
from monuseg.segment.slide import Choices
from monuseg.segment.staging import Scratch, staged
from tests.monuseg.segment.networks import NAMED, contents, darkness, network, two_discs
from tests.web_server import sends, serving

fsspec = pytest.importorskip("fsspec")

ALL = Choices()


def refused(pixels: np.ndarray) -> np.ndarray:
    raise AssertionError("computed once more")


def bmp(pixels: np.ndarray) -> bytes:
    content = BytesIO()
    PIL.Image.fromarray(pixels).save(content, "bmp")
    return content.getvalue()


@dataclass
class Calls:
    """Calls of the command on one URL, into the folder `out`."""

    url: str
    folder: Path
    copies: list[str] = field(default_factory=list)

    def __call__(
        self, choices: Choices = ALL, named: ModelChoice = NAMED, forward: Forward = darkness
    ) -> pd.DataFrame:
        """One call; the table that it leaves."""
        output = self.folder / "out"
        inputs = inputs_of([self.url], None, output)
        segment_all(inputs, named, network(forward), choices, output / "segment.csv")
        return pd.read_csv(output / "segment.csv")

    def put(self, pixels: np.ndarray) -> None:
        """Replace the file."""
        with fsspec.open(self.url, "wb") as file:
            file.write(bmp(pixels))


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    """Of an image in this process's memory."""
    calls = Calls(f"memory://{uuid.uuid4()}/a.bmp", tmp_path)
    calls.put(two_discs())

    def counted(url: str, scratch: Scratch) -> AbstractContextManager[Path]:
        calls.copies.append(url)
        return staged(url, scratch)

    monkeypatch.setattr(command, "staged", counted)
    yield calls
    memory = fsspec.filesystem("memory")
    for path in memory.find("/"):
        memory.rm(path)


def test_what_stands_is_not_copied_again(call: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    first = call()
    before = contents(call.folder)
    said = capsys.readouterr()
    pd.testing.assert_frame_equal(call(forward=refused), first)
    assert first.nuclei.tolist() == [2]
    assert call.copies == [call.url]
    assert contents(call.folder) == before
    again = capsys.readouterr()
    assert again.err == said.err  # the resolution is assumed, and so on
    assert "nothing computed: results of the same image" in again.out


def test_a_damaged_image_stays_failed(call: Calls) -> None:
    """Its squares are left out, which each call says."""
    call()
    record = call.folder / "out/a.nuclei.json"
    text = record.read_text()
    assert '"damaged": []' in text
    version = int(text.split('"version":')[2].split(",")[0])
    damaged = text.replace('"damaged": []', '"damaged": [[0, 90, 0, 120]]')
    record.write_text(damaged.replace('"of"', f'"modified": {version}, "of"', 1))
    with pytest.raises(PartlyFailedError, match="1 of 1 images failed or are damaged"):
        call(forward=refused)
    assert len(call.copies) == 1


def fewer(call: Calls) -> dict[str, object]:
    call.put(two_discs()[:45])
    return {}


def a_lost_file(call: Calls) -> dict[str, object]:
    (call.folder / "out/a.nuclei.csv").unlink()
    return {}


def an_older_record(call: Calls) -> dict[str, object]:
    """As it was when the version was not kept, and of other weights."""
    record = call.folder / "out/a.nuclei.json"
    record.write_text('{"of": {}, "written": {"nuclei": 2}}')
    return {}


def with_(**changed: object) -> Callable[[Calls], dict[str, object]]:
    return lambda call: changed


CHANGES = {
    "image": fewer,
    "lost file": a_lost_file,
    "record": an_older_record,
    "weights": with_(named=replace(NAMED, identity=["of others"])),
    "resolution": with_(choices=replace(ALL, um_per_pixel=0.3)),
    "views": with_(choices=replace(ALL, views=8)),
    "formats": with_(choices=replace(ALL, formats=("csv",))),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_is_copied_and_done_again(what: str, call: Calls) -> None:
    call()
    changed = CHANGES[what](call)
    with pytest.raises(AssertionError, match="computed once more"):
        call(forward=refused, **changed)  # type: ignore[arg-type]
    again = call(**changed)  # type: ignore[arg-type]
    assert len(call.copies) == 3
    pd.testing.assert_frame_equal(call(forward=refused, **changed), again)  # type: ignore[arg-type]
    assert len(call.copies) == 3


@pytest.mark.parametrize(
    "record", ["[]", "5", "null", '{"of": [], "written": {"nuclei": 1}}',
               '{"of": {}, "written": {"nuclei": 1, "files": 5}}',
               '{"of": {}, "written": {"nuclei": 1, "files": [[]]}}', '{"remote": [], "info": 5}'],
)  # fmt: skip
def test_a_record_of_any_shape_is_replaced(record: str, call: Calls) -> None:
    first = call()
    before = contents(call.folder)
    (call.folder / "out/a.nuclei.json").write_text(record)
    pd.testing.assert_frame_equal(call(), first)
    assert contents(call.folder) == before


def test_a_listing_from_before_hides_no_change(
    call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As file systems keep them that answer from listings."""
    memory = type(fsspec.filesystem("memory"))
    listed: dict[str, dict[str, object]] = {}
    look = memory.info

    def info(self: object, path: str, **_: object) -> dict[str, object]:
        return listed.setdefault(path, look(self, path))

    monkeypatch.setattr(memory, "info", info)
    monkeypatch.setattr(memory, "invalidate_cache", lambda *_: listed.clear())
    assert call().nuclei.tolist() == [2]
    fewer(call)
    assert call().nuclei.tolist() == [1]


def test_drawn_regions_are_read_once(call: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a file that changes meanwhile is not what the record says."""
    region = call.folder / "r.geojson"
    region.write_text('{"type": "Polygon", "coordinates": [[[0,0],[50,0],[50,90],[0,90],[0,0]]]}')
    read: list[Path] = []
    whole = DrawnRegions.read

    def counted(path: Path, what: str) -> DrawnRegions:
        read.append(path)
        return whole(path, what)

    monkeypatch.setattr(DrawnRegions, "read", counted)
    assert call(replace(ALL, region=str(region))).nuclei.tolist() == [1]
    assert read == [region]


def test_where_the_record_cannot_be_read_the_file_is_copied(call: Calls) -> None:
    call()
    record = call.folder / "out/a.nuclei.json"
    record.write_text(record.read_text().replace('"height": 90', '"height": "ninety"'))
    call(forward=refused)
    assert len(call.copies) == 2


def test_another_file_of_the_same_name_and_version_is_another(
    call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers make ETags of time and size."""
    one = two_discs()
    one[45:] = 250
    with serving(monkeypatch) as server:
        server.replies["/one/a.bmp"] = [sends(bmp(one))]
        server.replies["/two/a.bmp"] = [sends(bmp(two_discs()))]
        for folder, nuclei in (("one", 1), ("two", 2), ("one", 1)):
            call.url = f"{server.address}/{folder}/a.bmp"
            assert call().nuclei.tolist() == [nuclei]


def test_a_version_that_did_not_come_is_not_remembered(
    call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two servers behind one name, one may not have the new file yet."""
    with monkeypatch.context() as patch:
        patch.setattr(command, "version_of", lambda url: 1)
        call()
    call()
    assert len(call.copies) == 2


@pytest.mark.parametrize(
    ("etag", "query", "copies"), [('"1"', "", 1), ("", "", 2), ('"1"', "?key=1", 2)]
)
def test_where_no_version_is_told_the_file_is_copied(
    etag: str, query: str, copies: int, call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(monkeypatch) as server:
        server.replies["/a.bmp"] = [sends(bmp(two_discs()), etag=etag)]
        call.url = f"{server.address}/a.bmp{query}"
        for _ in range(2):
            assert call().nuclei.tolist() == [2]
    assert len(call.copies) == copies
