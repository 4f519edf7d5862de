"""Peak memory and time of each stage by the number of images.

    $ python -m tests.benchmarks.bench_scaling [--folder FOLDER] [--stages STAGE ...]

Runs each stage on 10, 100 and 1,000 slides of 256 x 256 pixels with one worker, in a process of its
own: download, which draws synthetic slides, extract and masks on these; the others on slides drawn
in no time, copies of few with other noise. Of train it is `Batches`: all images read, maps made,
and a hundred batches drawn with every output; predict applies a U-Net of random weights. The table
has the peak resident memory, the least time of two runs, and how both grow: kB and ms an image
between 100 and 1,000.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
COUNTS = (10, 100, 1000)
SIDE = 256
RUNS = 2
# Fewer than by default, as each of them takes as long as all the rest.
CANDIDATES = {"smoothing": [2.0], "min_distance": [5], "min_probability": [0.0, 0.6]}
ROW = "unet"

# With one patient each; a fifth for testing.
DRAW = f"""
import sys
from dataclasses import asdict
from pathlib import Path
import numpy as np
from monuseg.formats import manifest, predictions, paths
from monuseg.formats.images import write_labels, write_rgb

count, side = int(sys.argv[1]), {SIDE}
generator = np.random.default_rng(0)
rows, columns = np.mgrid[:side, :side]
slides = []
for _ in range(8):
    labels = np.zeros((side, side), np.uint16)
    for number in range(1, 61):
        y, x, radius = generator.uniform([0, 0, 5], [side, side, 11])
        labels[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = number
    slides.append(labels)
records = []
for folder in (paths.RAW, paths.MASKS):
    folder.mkdir(parents=True)
models = [paths.PREDICTIONS / name for name in ("unet", "segnet", "deeplabv3plus")]
for model in models:
    model.mkdir(parents=True)
    predictions.write_output(model, ["nucleus"], probabilities=True)
for number in range(count):
    labels, name = slides[number % 8], f"S-{{number:05d}}"
    tone = np.where(labels[..., None] > 0, [90, 50, 140], [220, 170, 200])
    image = np.clip(tone + generator.normal(0, 10, tone.shape), 0, 255).astype(np.uint8)
    write_rgb(paths.RAW / f"{{name}}.tif", image)
    write_labels(paths.MASKS / f"{{name}}.png", labels)
    for model in models:
        p = np.clip((labels > 0) * 0.7 + generator.uniform(0, 0.3, labels.shape), 0, 1)
        predictions.write_probabilities(model, name, p[..., None].astype(np.float16))
    organ, part = ("liver", "lung", "brain")[number % 3], "test" if number % 5 == 0 else "train"
    records.append(
        manifest.ImageRecord(
            name, organ, name, part, 0.25, "image", "aperio-xml", f"{{number}}", f"{{number}}"
        )
    )
manifest.write_records(paths.RAW / "manifest.csv", records)
"""

BATCHES = """
from pathlib import Path
from monuseg.formats.paths import TILES
from monuseg.formats.tiles import read_tiles
from stages.train.batches import Batches
from stages.train.params import SamplingParams, TrainParams

every = {"outputs": ["nucleus", "boundary", "distance"]}
sampling = {"sampling": SamplingParams(organs="area", nuclei=0.5)}
params = TrainParams.load().model_copy(update=every | sampling)
for _ in Batches(read_tiles(TILES / "train"), params, "symmetric", scratch=Path("scratch")).ahead(
    0, 100
):
    pass
"""

MODEL = """
from monuseg.formats.paths import MODELS
from monuseg.models.shared import store

card = store.Card(
    model="unet", params={"width": 8, "learning_rate": 0.1}, classes=["nucleus"],
    scaling="symmetric", um_per_pixel=0.25, epoch=1, seed=1, versions={},
)
MODELS.mkdir(parents=True)
store.save(MODELS, card, store.build(card).get_weights())
"""

# Of an archive, in this order.
OF_ARCHIVES = {stage: ["-m", f"stages.{stage}"] for stage in ("download", "extract", "masks")}
# Of images that lie there, in this order.
OF_IMAGES = {
    "tile": ["-m", "stages.tile"],
    "train: batches": ["-c", BATCHES],
    "baseline": ["-m", "stages.baseline"],
    "ensemble": ["-m", "stages.ensemble"],
    "evaluate": ["-m", "stages.evaluate", ROW],
    "report: tables": [
        "-c",
        "from monuseg.scoring.per_image import read_scores\nfrom pathlib import Path\n"
        f"read_scores(Path('metrics/per_image/{ROW}.csv'), 'test')",
    ],
    "predict": ["-m", "stages.predict", ROW],  # last, since it writes what evaluate reads
}
STAGES = OF_ARCHIVES | OF_IMAGES


def peak_and_time(arguments: list[str], folder: Path) -> tuple[float, float]:
    """Peak resident memory in MB and time in seconds of a Python process that must succeed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MONUSEG_WORKERS": "1"}
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL
    ) as process:
        # Of this child alone, not of the largest so far.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments[:2]} failed in {folder}")
    return usage.ru_maxrss / 1024, time.perf_counter() - start


def measured(count: int, folder: Path, stages: list[str]) -> dict[str, tuple[float, float]]:
    """Peak and least time of each stage on so many images, in new projects in `folder`."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["evaluate"]["nuclei"] |= CANDIDATES
    test = count // 5
    params["dataset"]["synthetic"] |= {
        "train_images": count - test, "test_images": test, "height": SIDE, "width": SIDE,
    }  # fmt: skip
    archives, images = folder / "archives", folder / "images"
    for project in (archives, images):
        project.mkdir(parents=True)
        shutil.copy(ROOT / "requirements-compute.txt", project)
        (project / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    if set(stages) & set(OF_IMAGES):
        peak_and_time(["-c", DRAW, str(count)], images)
        peak_and_time(["-c", MODEL], images)
        if "tile" not in stages:  # which all others read
            peak_and_time(STAGES["tile"], images)
    found = {}
    for stage in stages:
        arguments, project = STAGES[stage], archives if stage in OF_ARCHIVES else images
        peaks, times = zip(*(peak_and_time(arguments, project) for _ in range(RUNS)), strict=True)
        found[stage] = max(peaks), min(times)
        print(f"{stage}, {count}: {found[stage][0]:.0f} MB, {found[stage][1]:.1f} s", flush=True)
    return found


def table(found: dict[int, dict[str, tuple[float, float]]]) -> str:
    """As Markdown: the stages' peaks and times, and their slopes over the larger half."""
    few, many = COUNTS[-2:]
    lines = [
        "| stage | " + " | ".join(f"{count} images" for count in COUNTS) + " | kB, ms an image |",
        "|---|" + "---|" * (len(COUNTS) + 1),
    ]
    for stage in found[few]:
        cells = ["{:.0f} MB, {:.1f} s".format(*found[count][stage]) for count in COUNTS]
        (low, short), (high, long) = found[few][stage], found[many][stage]
        memory, duration = (high - low) / (many - few), (long - short) / (many - few)
        cells.append(f"{memory * 1024:.1f}, {duration * 1000:.1f}")
        lines.append(f"| {stage} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure all, and print the table."""
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("--folder", type=Path, help="to work in; by default the system's")
    # Each reads what those before it of the same source wrote; tile's is there in any case.
    command.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    given = command.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        made = {count: measured(count, Path(folder) / str(count), given.stages) for count in COUNTS}
        print(table(made))


if __name__ == "__main__":
    main()
