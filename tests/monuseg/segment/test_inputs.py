"""Which images are segmented, and how their results are called."""

import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from monuseg.core.errors import PipelineError
from monuseg.segment.inputs import Input, inputs_of, refuse_to_replace, share


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two images and other things."""
    made = tmp_path / "images"
    (made / "below").mkdir(parents=True)
    for name in ("a.png", "b.svs", ".hidden.png", "a.nuclei.png", "a.overlay.tif", "notes.txt"):
        (made / name).write_text("none")
    return made


def places(inputs: list[Input], output: Path) -> list[str]:
    return [str(one.place.relative_to(output)) for one in inputs]


def test_a_folder_stands_for_its_images(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = inputs_of([folder, folder / "b.svs"], None, folder.parent / "out")
    assert [one.path.name for one in found] == ["a.png", "b.svs"]
    assert places(found, folder.parent / "out") == ["a", "b"]
    said = capsys.readouterr().err
    assert "5 skipped that are no images: .hidden.png, a.nuclei.png, a.overlay.tif, below" in said
    with pytest.raises(PipelineError, match=r"below: no image in it"):
        inputs_of([folder / "below"], None, folder.parent)
    with pytest.raises(PipelineError, match="no image is named"):
        inputs_of([], None, folder.parent)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (["one/a.png", "two/a.png", "two/b.png"], ["one/a", "two/a", "b"]),
        (["one/a.png", "one/a.jpg", "b.png"], ["one/a.png", "one/a.jpg", "b"]),
        (["one/a.png", "two/A.svs"], ["one/a", "two/A"]),
        (["a b.png", "é/ü.tif"], ["a b", "ü"]),
        (["a.png", "a.jpg", "a.png.tif"], ["a.png", "a.jpg", "a.png.tif"]),
    ],
)
def test_results_of_images_of_one_name_lie_apart(
    tmp_path: Path, images: list[str], expected: list[str]
) -> None:
    found = inputs_of([tmp_path / name for name in images], None, tmp_path / "out")
    assert places(found, tmp_path / "out") == expected


def test_a_file_that_two_links_name_is_done_once(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(PipelineError, match="are the same file"):
        inputs_of([tmp_path / "a.png", tmp_path / "link/a.png"], None, tmp_path / "out")


@pytest.mark.parametrize("other", ["A.png", "\u00e4.png"])
def test_files_whose_results_could_be_one_are_told_apart(tmp_path: Path, other: str) -> None:
    """Where names have no case, as on a Mac, or two ways to store an accent."""
    named = [tmp_path / unicodedata.normalize("NFD", other.lower()), tmp_path / other]
    for path in named:
        path.write_text("")
    with pytest.raises(PipelineError, match="differ only in case or in how accents are stored"):
        inputs_of(named, None, tmp_path / "out")


def test_a_link_to_itself_and_a_name_too_long_are_left_to_who_reads_them(tmp_path: Path) -> None:
    loop, long = tmp_path / "loop.png", tmp_path / f"{'a' * 300}.png"
    loop.symlink_to(loop)
    found = inputs_of([loop, long], None, tmp_path / "out")
    assert [one.path for one in found] == [loop, long]
    refuse_to_replace(found, tmp_path / "out/segment.csv", [])


def test_a_result_never_replaces_what_is_read(folder: Path) -> None:
    (folder.parent / "link").symlink_to(folder)
    for output in (folder, folder / "below/..", folder.parent / "link"):
        summary = output / "segment.csv"
        one = inputs_of([folder / "a.png"], None, output)
        refuse_to_replace(one, summary, [None, folder / "notes.txt", folder / "b.nuclei.csv"])
        for name in ("a.tissue.geojson", "a.nuclei.geojson", "a.nuclei.csv", "segment.csv"):
            with pytest.raises(PipelineError, match=rf"{name} is to be read, but the .* would"):
                refuse_to_replace(one, summary, [None, folder / name])
        two = inputs_of([folder / "a.png", folder / "a.nuclei.png"], None, output)
        with pytest.raises(PipelineError, match=r"a\.nuclei\.png is to be read, but the result of"):
            refuse_to_replace(two, summary, [])
        drawn = [replace(one[0], region=folder / "a.nuclei.geojson")]
        with pytest.raises(PipelineError, match=r"a\.nuclei\.geojson is to be read"):
            refuse_to_replace(drawn, summary, [])


def test_a_list_names_slides_beside_it_and_their_resolution(tmp_path: Path) -> None:
    lines = ["note,path,um_per_pixel", "x,one/a.svs,0.5", 'y,"b, c.png",', "z,/far/d.tif,0.2527"]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    found = inputs_of([], tmp_path / "list.csv", tmp_path / "out")
    assert [str(one.path) for one in found] == [
        f"{tmp_path}/one/a.svs", f"{tmp_path}/b, c.png", "/far/d.tif"
    ]  # fmt: skip
    assert [one.um_per_pixel for one in found] == [0.5, None, 0.2527]
    assert [one.region for one in found] == [None] * 3


def test_a_list_names_regions_beside_it(tmp_path: Path) -> None:
    lines = ["path,region", "a.svs,drawn/a b.geojson", "b.svs,", "c.svs, /far/c.geojson "]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    found = inputs_of([], tmp_path / "list.csv", tmp_path / "out")
    assert [one.region for one in found] == [
        tmp_path / "drawn/a b.geojson", None, Path("/far/c.geojson")
    ]  # fmt: skip
    assert [one.um_per_pixel for one in found] == [None] * 3


@pytest.mark.parametrize("slide", ["a.svs", "https://host/a.svs"])
@pytest.mark.parametrize("second", ["0.25,two", "0.5,one", ",one"])
def test_a_slide_in_two_lines_of_a_list_loses_none(tmp_path: Path, slide: str, second: str) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text(f"path,um_per_pixel,region\n{slide},0.25,one\n{slide},{second}\n")
    with pytest.raises(PipelineError, match=r"list\.csv, line 3: named before, with another"):
        inputs_of([], listed, tmp_path / "out")
    listed.write_text(f"path,um_per_pixel,region\n{slide},0.25,one\n{slide},0.25,one\n")
    assert len(inputs_of([], listed, tmp_path / "out")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "path,um_per_pixel\na.svs,0.25,\n",
        "path, um_per_pixel\n\na.svs, 0.25\n\n",
        "path ,um_per_pixel \na.svs ,0.25 \n",
    ],
)
def test_commas_spaces_and_lines_too_many_lose_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    (tmp_path / "a.svs").write_text("")
    [one] = inputs_of([], tmp_path / "list.csv", tmp_path / "out")
    assert (one.path.name, one.um_per_pixel) == ("a.svs", 0.25)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slide\na.png\n", "no column `path`"),
        ("path,um_per_pixel\na.png,\nb.png,fine\n", "line 3: um_per_pixel: 'fine' is no number"),
        ("path,um_per_pixel\na.png,40\n", "line 2: um_per_pixel: .*magnification"),
        ("", "no column `path`"),
        ("path,um_per_pixel\n,0.25\n", "line 2: no path"),
        ("path\na\0.png\n", "line 2: no path"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(PipelineError, match=f"list.csv.*{said}"):
        inputs_of([], tmp_path / "list.csv", tmp_path / "out")


def test_shards_are_all_images_once() -> None:
    inputs = [Input(Path(f"{n}.png"), Path(str(n))) for n in range(10)]
    shares = [share(inputs, f"{n}/4") for n in (1, 2, 3, 4)]
    assert sorted((one.path for part in shares for one in part), key=lambda p: int(p.stem)) == [
        one.path for one in inputs
    ]
    assert {len(part) for part in shares} == {2, 3}
    assert share(inputs, None) == inputs


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "a/b", "1/0", "-1/2", "1/2/3"])
def test_what_is_no_shard_is_refused(shard: str) -> None:
    with pytest.raises(PipelineError, match="not I/N"):
        share([], shard)
