"""The stage `report` and the command `reference`, on a small run's files."""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml

from monuseg.core.command import run
from monuseg.core.errors import PipelineError
from monuseg.formats.images import write_labels, write_rgb
from monuseg.formats.manifest import SplitRecord, write_records
from monuseg.scoring.kept_runs import read_references
from stages.report import __main__ as report
from stages.report import pages
from tools import compare, reference

ROOT = Path(__file__).resolve().parents[3]
SYNTHETIC = ("SYN-colon-0001", "SYN-colon-0002", "SYN-colon-0003", "SYN-colon-0004")
REAL = tuple(f"TCGA-{name}" for name in ("AA", "BB", "CC", "DD"))

SCORES = {"loss": 0.31, "accuracy": 0.91, "f1": 0.78, "dice": 0.7712, "iou": 0.64}
NUCLEI = {"aji": 0.551, "pq": 0.532}
SPLITS = ("train", "validation", "test", "test")
CALIBRATION = {
    "expected_calibration_error": 0.0314,
    "bins": [
        {
            "low": 0.0,
            "high": 0.1,
            "pixels": 900,
            "mean_probability": 0.02,
            "nucleus_fraction": 0.05,
        },
        {
            "low": 0.9,
            "high": 1.0,
            "pixels": 100,
            "mean_probability": 0.95,
            "nucleus_fraction": 0.9,
        },
    ],
}
INTERVALS = {"dice_lo": 0.751, "dice_hi": 0.792, "aji_lo": 0.5, "aji_hi": 0.6}


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_per_image(
    folder: Path, row: str, gain: float, ids: tuple[str, ...], scored: list[str]
) -> None:
    path = folder / "metrics/per_image" / f"{row}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["id,split,organ,dice,iou,aji,pq,dq,sq"]
    for image, split in zip(ids, SPLITS, strict=True):
        if split in scored:
            lines.append(f"{image},{split},colon,{0.77 + gain},0.64,{0.55 + gain},0.53,0.7,0.8")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def build(
    folder: Path, ids: tuple[str, ...] = SYNTHETIC, *, scored: tuple[str, ...] = SPLITS
) -> None:
    """A run's files: one model and the baseline, one image each for training and validation."""
    (folder / "params.yaml").write_text(
        yaml.safe_dump(
            {
                "models": ["unet"],
                "dataset": {"source": "synthetic"},
                "tile": {"protocol": "archive"},
                "train": {"backend": "tensorflow", "device": "auto"},
                "report": {"overlays": 2},
            }
        ),
        encoding="utf-8",
    )
    for row, gain in (("unet", 0.02), ("otsu", 0.0)):
        splits = [split for split in ("train", "validation", "test") if split in scored]
        better = {name: value + gain for name, value in {**SCORES, **NUCLEI}.items()}
        scores = {split: dict(better) for split in splits}
        if "test" in scored:
            scores["test"] |= INTERVALS
        write(folder / "metrics" / f"{row}.json", scores)
        detail: dict[str, dict[str, object]] = {
            split: {"pixel_dice": 0.9512, "dq": 0.7} for split in splits
        }
        if row == "unet":
            for split in splits:
                detail[split]["calibration"] = CALIBRATION
        write_per_image(folder, row, gain, ids, splits)
        write(folder / "metrics/detail" / f"{row}.json", {**detail, "settings": {"threshold": 0.5}})
    (folder / "metrics/history").mkdir(parents=True)
    (folder / "metrics/history/unet.csv").write_text(
        "epoch,learning_rate,objective,validation_loss,validation_accuracy,validation_dice\n"
        "1,0.001,0.9,0.5,0.8,0.61\n2,0.001,0.7,0.4,0.85,0.72\n3,0.001,0.65,0.42,0.84,0.71\n",
        encoding="utf-8",
    )
    write_records(
        folder / "data/splits.csv",
        [
            SplitRecord(image, "colon", split, 0.25, 0.25, "aperio-xml")
            for image, split in zip(ids, SPLITS, strict=True)
        ],
    )
    for name in ("data/raw", "data/masks", "data/nuclei/unet"):
        (folder / name).mkdir(parents=True)
    random = np.random.default_rng(1)
    for image in ids:
        write_rgb(
            folder / f"data/raw/{image}.tif", random.integers(0, 255, (40, 50, 3), dtype=np.uint8)
        )
        labels = np.zeros((40, 50), np.uint16)
        labels[5:15, 5:15], labels[20:30, 20:40] = 1, 2
        write_labels(folder / f"data/masks/{image}.png", labels)
        write_labels(folder / f"data/nuclei/unet/{image}.png", np.roll(labels, 2, axis=1))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    build(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path) -> tuple[str, str]:
    """The report's Markdown, each paragraph on one line, and its HTML."""
    report.main(argparse.Namespace())
    markdown, html = (
        (folder / "metrics" / name).read_text("utf-8") for name in ("report.md", "report.html")
    )
    return re.sub(r"(?<!\n)\n(> |  )?(?![\n|>#-])", " ", markdown), html


def keep(name: str = "real-run", description: str = "A real run.", device: str = "") -> None:
    reference.main(argparse.Namespace(name=name, description=description, device=device))


class Page(HTMLParser):
    """Collects every address that a page refers to, and whether elements are balanced."""

    VOID = frozenset({"meta", "img", "br", "input", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.resources: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element that is closed later, unless it is void."""
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self._attributes(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element of SVG that closes itself."""
        self.tags.add(tag)
        self._attributes(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        """The element opened last must be the one that ends."""
        assert self.open.pop() == tag

    def _attributes(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"src", "srcset", "data", "poster", "action", "xlink:href"} or (
                name == "href" and tag != "a"
            ):
                self.resources.append(value or "")
            elif name == "href":
                self.links.append(value or "")
            elif name == "id":
                self.ids.append(value or "")


def test_page_needs_nothing_from_outside(project: Path) -> None:
    _, html = written(project)
    page = Page()
    page.feed(html)
    page.close()
    assert page.open == []
    assert page.resources
    assert [uri for uri in page.resources if not uri.startswith(("data:image/", "#"))] == []
    assert page.tags.isdisjoint({"link", "iframe", "object", "embed"})
    # Whatever Vega's JavaScript can do, the browser lets nothing be fetched.
    assert "content=\"default-src 'none'; img-src data:;" in html
    assert html.count(pages.vega()) == 1
    # Figures share one page: an id may stand in it once, and every reference must find one.
    assert len(page.ids) == len(set(page.ids))
    inner = [uri[1:] for uri in [*page.resources, *page.links] if uri.startswith("#")]
    assert set(inner) <= set(page.ids)


def test_two_processes_write_the_same_bytes(project: Path, tmp_path: Path) -> None:
    made = []
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-m", "stages.report"],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        )
        made.append(
            [
                hashlib.sha256((project / "metrics" / name).read_bytes()).hexdigest()
                for name in ("report.md", "report.html")
            ]
        )
    assert made[0] == made[1]


def test_pictures_show_every_test_image_and_some_at_full_size(project: Path) -> None:
    html = written(project)[1]
    # The small one with the errors; at full size truth, outlines and errors too.
    assert html.replace(pages.vega(), "").count("<img ") == 2 * (2 + 4)
    assert html.count("data:image/webp;base64,") == 4
    assert html.count("data:image/png;base64,") == 8
    assert "<code>SYN-colon-0003</code>" in html
    assert "<code>SYN-colon-0004</code>" in html


def test_without_scored_test_images_the_report_is_about_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path, scored=("train", "validation"))
    monkeypatch.chdir(tmp_path)
    markdown, html = written(tmp_path)
    assert "The test images were not scored in this run." in markdown
    assert "its validation images, which the settings were chosen on" in markdown
    assert "on 1 image of synthetic slides (validation)" in markdown
    assert "<code>SYN-colon-0002</code>" in html
    assert "SYN-colon-0003" not in html
    assert "| U-Net | Otsu | too few images | too few images | too few images |" in markdown
    assert "Not scored in this run: test images." in markdown
    assert "| Method | Validation |\n| --- | ---: |\n| U-Net | 0.032 |" in markdown


def test_of_test_images_alone_all_is_said_that_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path, scored=("test",))
    monkeypatch.chdir(tmp_path)
    markdown, _ = written(tmp_path)
    assert "### Differences, test, 2 images\n" in markdown
    assert "Not scored in this run: validation images." in markdown


def test_of_training_images_alone_no_method_is_called_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path, scored=("train",))
    monkeypatch.chdir(tmp_path)
    markdown, _ = written(tmp_path)
    assert (
        "These are the scores on its training images, which the models were trained on." in markdown
    )
    assert "Only training images were scored in this run." in markdown
    assert "Not scored in this run: validation and test images." in markdown
    assert "### Differences" not in markdown
    assert "### Dice by organ, training\n" in markdown


def test_differences_organs_and_calibration_stand_in_the_report(project: Path) -> None:
    markdown, html = written(project)
    holds = "**+0.0200 holds** *(+0.0200 to +0.0200; higher on 2 of 2)*"
    assert f"| U-Net | Otsu | {holds} | {holds} | 0.0000 may be chance *(" in markdown
    assert "Dice +0.0200 (holds), AJI +0.0200 (holds), PQ 0.0000 (may be chance)." in markdown
    assert "0.15 of the 3 intervals here would be expected to." in markdown
    assert "**Take “holds” as a hint only.** Dice, AJI, PQ: 2 images are few" in markdown
    assert "| colon | 2 | **0.570** | 0.550 |" in markdown
    assert "| U-Net | 0.032 | 0.032 |" in markdown
    assert "| U-Net | 4 | 0 | 0 | 0 | 0 |" in markdown
    assert html.count('class="chart"') == 19 - 4


def test_synthetic_slides_are_said_to_be_no_tissue(project: Path) -> None:
    for text in written(project):
        assert "This run used synthetic slides." in text
        assert "None of its 4 images shows tissue" in text
        assert "this run (other slides)" in text


def test_real_slides_get_no_such_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path, REAL)
    monkeypatch.chdir(tmp_path)
    for text in written(tmp_path):
        assert "synthetic slides" not in text
        assert "Not all images of this run" not in text
        assert "other slides" not in text


def test_one_foreign_slide_among_real_ones_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path, (*REAL[:3], "slide-7"))
    monkeypatch.chdir(tmp_path)
    for text in written(tmp_path):
        assert "Images from other sources: 1 of 4." in text
        assert "this run (other slides)" in text


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [
        ("metrics/unet.json", "dvc repro evaluate@unet"),
        ("metrics/otsu.json", "dvc repro evaluate@otsu"),
        ("metrics/detail/unet.json", "dvc repro evaluate@unet"),
        ("metrics/per_image/otsu.csv", "dvc repro evaluate@otsu"),
        ("metrics/history/unet.csv", "dvc repro train@unet"),
        ("data/splits.csv", "dvc repro tile"),
        ("data/raw/SYN-colon-0003.tif", "dvc repro extract"),
        ("data/masks/SYN-colon-0004.png", "dvc repro masks"),
        ("data/nuclei/unet/SYN-colon-0003.png", "dvc repro evaluate@unet"),
    ],
)
def test_a_missing_input_is_one_line(
    project: Path, capsys: pytest.CaptureFixture[str], missing: str, remedy: str
) -> None:
    (project / missing).unlink()
    with pytest.raises(SystemExit, match="1"):
        run(report.main, argparse.Namespace(debug=False))
    assert capsys.readouterr().err == f"error: {missing} is missing; run `{remedy}`\n"
    assert not (project / "metrics/report.html").exists()


def test_a_kept_run_stands_in_the_report(project: Path) -> None:
    (project / "data/archives").mkdir()
    (project / "data/archives/b.zip").write_bytes(b"test")
    (project / "data/archives/a.zip").write_bytes(b"training")
    write(project / "data/models/unet.json", {"versions": {"keras": "3.15.1"}})
    keep(device="2 CPU cores")

    [kept] = read_references(project / "metrics/reference")
    assert [archive.name for archive in kept.dataset.archives] == ["a.zip", "b.zip"]
    assert kept.dataset.archives[0].sha256 == hashlib.sha256(b"training").hexdigest()
    assert kept.versions == {"unet": {"keras": "3.15.1"}}
    assert (kept.backend, kept.device) == ("tensorflow", "2 CPU cores")
    assert kept.params["report"] == {"overlays": 2}
    assert list(kept.rows) == ["unet", "otsu"]
    assert kept.rows["unet"]["test"] == {
        **{name: value + 0.02 for name, value in {**SCORES, **NUCLEI}.items()},
        **INTERVALS,
        "pixel_dice": 0.9512,
        "dq": 0.7,
    }

    for row in ("unet", "otsu"):
        own, copied = (Path(folder, "per_image") for folder in ("metrics", "metrics/reference"))
        assert (copied / "real-run" / f"{row}.csv").read_bytes() == (
            own / f"{row}.csv"
        ).read_bytes()

    markdown, _ = written(project)
    assert "| 0.791 *(0.751–0.792)* | 0.660 | 0.930 | 0.571 *(0.500–0.600)* |" in markdown
    assert "| U-Net | here, `real-run` |" in markdown
    assert markdown.count(" | kept run `real-run` |") == 6
    assert "| U-Net, real-run | the official 14 | 0.791 *(0.751–0.792)* |" in markdown
    assert "those of the kept runs can" in markdown
    assert "percentile bootstrap" not in markdown
    path = project / "metrics/reference/real-run.json"
    earlier = json.loads(path.read_text())
    earlier["params"]["intervals"] = {"resamples": 2000, "seed": 1}
    write(path, earlier)
    assert (
        "A real run. Intervals of the earlier kind, the percentile bootstrap" in written(project)[0]
    )
    assert "A real run. Protocol archive; Keras on tensorflow, 2 CPU cores; a.zip" in markdown


def test_the_mean_of_one_model_is_no_row_of_a_kept_run(project: Path) -> None:
    (project / "data/archives").mkdir()
    (project / "data/archives/a.zip").write_bytes(b"training")
    for folder in (project / "metrics", project / "metrics/detail"):
        shutil.copy(folder / "unet.json", folder / "ensemble.json")
    keep()
    [kept] = read_references(project / "metrics/reference")
    assert list(kept.rows) == ["unet", "otsu"]


def test_a_kept_run_of_other_test_images_is_marked(project: Path) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["tile"]["protocol"] = "kumar"
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    (project / "data/archives").mkdir()
    (project / "data/archives/a.zip").write_bytes(b"training")
    keep()
    markdown, _ = written(project)
    assert markdown.count("| here, `real-run`, **on other images** (kumar) |") == 2
    # Beside the original's rows, only official images.
    assert "kept run `real-run`" not in markdown


def test_nothing_is_kept_of_a_run_without_scores_of_images(project: Path) -> None:
    (project / "data/archives").mkdir()
    (project / "data/archives/a.zip").write_bytes(b"training")
    (project / "metrics/per_image/otsu.csv").unlink()
    with pytest.raises(PipelineError, match=r"per_image/otsu\.csv is missing; run `dvc repro eval"):
        keep()
    assert not list((project / "metrics/reference").rglob("*.*"))


def test_tables_and_scores_of_a_kept_run_change_together(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "data/archives").mkdir()
    (project / "data/archives/a.zip").write_bytes(b"training")
    keep()
    table = project / "metrics/reference/per_image/real-run/unet.csv"
    before = table.read_bytes()
    own = project / "metrics/per_image/unet.csv"
    own.write_bytes(before.replace(b"0.", b"0.0"))

    def interrupted(path: Path, content: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reference, "write_json", interrupted)
    with pytest.raises(KeyboardInterrupt):
        keep()
    assert table.read_bytes() == before != own.read_bytes()


def test_a_card_that_names_no_versions_is_told(project: Path) -> None:
    (project / "data/archives").mkdir()
    (project / "data/archives/a.zip").write_bytes(b"training")
    write(project / "data/models/unet.json", {})
    with pytest.raises(PipelineError, match=r"models/unet\.json: no model's card; run `dvc repro"):
        keep()
    assert not (project / "metrics/reference").exists()


def test_a_kept_run_is_compared_image_by_image(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "data/archives").mkdir()
    (project / "data/archives/a.zip").write_bytes(b"training")
    keep()
    kept = project / "metrics/reference/per_image/real-run/otsu.csv"
    compare.main(argparse.Namespace(first="unet", second=kept, split="test"))
    assert " dice  +0.0200 (+0.0200 to +0.0200), higher on 2 of 2: " in capsys.readouterr().out


def test_nothing_is_kept_without_archives(project: Path) -> None:
    with pytest.raises(PipelineError, match=r"data/archives holds no archive; run `dvc repro"):
        keep()
    assert not (project / "metrics/reference").exists()


@pytest.mark.parametrize(("name", "description"), [("../x", "Text."), ("Big", "Text."), ("x", "")])
def test_a_bad_name_or_description_is_refused(project: Path, name: str, description: str) -> None:
    (project / "data/archives").mkdir()
    (project / "data/archives/a.zip").write_bytes(b"training")
    with pytest.raises(PipelineError, match=rf"reference {name}\.(name|description): "):
        keep(name, description)
    assert not (project / "metrics/reference").exists()
