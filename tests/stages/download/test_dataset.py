"""Tests of `stages.download.params`."""

import os
from collections.abc import Callable

import pytest

from monuseg.core.errors import PipelineError, explained
from stages.download.params import DatasetParams

SetParams = Callable[[dict[str, object]], None]

SHA256 = "0123456789abcdef" * 4
URL = {"name": "a.zip", "url": "https://host/a.zip", "sha256": SHA256}
SOURCES = ("synthetic", "gdrive", "file", "url")


def error_of() -> str:
    with pytest.raises(PipelineError) as caught:
        DatasetParams.load()
    return str(caught.value)


@pytest.mark.parametrize("source", SOURCES)
def test_only_the_source_in_use_is_there(source: str, set_params: SetParams) -> None:
    set_params({"dataset.source": source, "dataset.url.archives": [URL]})
    params = DatasetParams.load()
    assert [name for name in SOURCES if getattr(params, name) is not None] == [source]


def test_a_mistake_in_a_source_that_is_not_in_use_does_not_count(set_params: SetParams) -> None:
    set_params({"dataset.gdrive.archives": "none", "dataset.url": None})
    assert DatasetParams.load().synthetic is not None


@pytest.mark.parametrize("source", SOURCES)
def test_the_source_in_use_must_be_there(source: str, set_params: SetParams) -> None:
    set_params({"dataset": {"source": source}})
    assert error_of().startswith(
        f"params.yaml: dataset: source `{source}` needs the block `{source}:`"
    )


def test_the_archives_of_the_challenge_are_pinned(set_params: SetParams) -> None:
    hashes = {}
    for source in ("gdrive", "file"):
        set_params({"dataset.source": source})
        block = getattr(DatasetParams.load(), source)
        hashes[source] = {archive.name: archive.sha256 for archive in block.archives}
    assert hashes["gdrive"] == hashes["file"]
    assert set(hashes["file"].values()) == {
        "25d3d3185bb2970b397cafa72eb664c9b4d24294aee382e7e3df9885affce742",
        "13e522387ae8b1bcc0530e13ff9c7b4d91ec74959ef6f6e57747368d7ee6f88a",
    }


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"name": "../a.zip"}, "name"),
        ({"name": "x/a.zip"}, "name"),
        ({"name": "x\\a.zip"}, "name"),
        ({"name": ".zip"}, "name"),
        ({"name": ".hidden.zip"}, "name"),
        ({"name": "a.tar"}, "name"),
        ({"name": "a.zip\n"}, "name"),
        ({"name": "a\x9b2J.zip"}, "name"),
        ({"name": "\ud800.zip"}, "name"),
        ({"name": "\u65e5" * 75 + ".zip"}, "name"),
        ({"sha256": SHA256[1:]}, "sha256"),
        ({"sha256": SHA256.upper()}, "sha256"),
        ({"sha256": 5}, "sha256"),
        ({"sha256": f"{SHA256}\n"}, "sha256"),
        ({"size": 0}, "size"),
        ({"size": "1 GB"}, "size"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"url": "host/a.zip"}, "url"),
        ({"md5": "x"}, "md5"),
    ],
)
def test_a_bad_archive_is_named_by_its_place(
    change: dict[str, object], key: str, set_params: SetParams
) -> None:
    set_params({"dataset.source": "url", "dataset.url.archives": [URL, {**URL, **change}]})
    assert error_of().startswith(f"params.yaml: dataset.url.archives.1.{key}: ")


def test_a_name_beyond_the_locales_letters_is_refused_with_the_remedy(
    set_params: SetParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_params({"dataset.source": "url", "dataset.url.archives": [{**URL, "name": "\u65e5.zip"}]})
    assert DatasetParams.load().url is not None
    monkeypatch.setattr(os, "fsencode", lambda name: name.encode("ascii", "surrogateescape"))
    assert "cannot be a file's name in this locale" in error_of()
    assert "set PYTHONUTF8=1" in error_of()


def test_a_wrong_address_is_printed_without_its_login(set_params: SetParams) -> None:
    wrong = {**URL, "url": "ftp://me:secret@host/a.zip"}
    set_params({"dataset.source": "url", "dataset.url.archives": [wrong]})
    with pytest.raises(PipelineError) as caught:
        DatasetParams.load()
    assert "found 'ftp://***@host/a.zip'" in explained(caught.value)


def test_two_archives_must_not_have_one_name(set_params: SetParams) -> None:
    set_params({"dataset.source": "url", "dataset.url.archives": [URL, {**URL, "name": "A.zip"}]})
    assert "dataset.url.archives: two archives have one name" in error_of()


def test_a_file_is_known_by_its_hash_alone_so_it_needs_one(set_params: SetParams) -> None:
    unpinned = [{"name": "a.zip", "sha256": None}]
    set_params({"dataset.source": "file", "dataset.file.archives": unpinned})
    assert error_of().startswith("params.yaml: dataset.file.archives.0.sha256: ")


def test_an_archive_of_unknown_hash_may_be_fetched_to_learn_it(set_params: SetParams) -> None:
    archive = {"name": "a.zip", "id": "1LEn2IXZkxLPRUd2ydbL", "sha256": None}
    set_params({"dataset.source": "gdrive", "dataset.gdrive.archives": [archive]})
    drive = DatasetParams.load().gdrive
    assert drive is not None
    assert drive.archives[0].sha256 is None


@pytest.mark.parametrize("source", ["gdrive", "file", "url"])
def test_a_source_in_use_needs_an_archive(source: str, set_params: SetParams) -> None:
    set_params({"dataset.source": source, f"dataset.{source}.archives": []})
    assert error_of().startswith(f"params.yaml: dataset.{source}.archives: ")
