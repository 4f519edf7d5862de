"""Every two rows compared on the same images: which differences hold, and which may be chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from monuseg.core.errors import PipelineError
from monuseg.formats.manifest import TEST
from monuseg.scoring.paired import Difference, caution, difference
from monuseg.scoring.per_image import read_scores, values
from stages.report import prose
from stages.report.document import (
    Block,
    Bullets,
    Cell,
    Column,
    Notice,
    Paragraph,
    Section,
    Table,
    TableRow,
    escaped,
)
from stages.report.rows import Row
from stages.report.tables import SCORE_TITLES, SPLIT_TITLES

COMPARED = ("dice", "aji", "pq")

# Differences are small beside scores, and an end of an interval near 0 decides: a digit more.
DIGITS = 4
ONE_IN = 20  # intervals of 95 % leaves out the true value


@dataclass(frozen=True)
class Pair:
    """Two rows, and how much higher the first scores.

    Attributes:
        first: a row.
        second: another.
        found: each of `COMPARED` to the difference; None where too few images define the score.
    """

    first: Row
    second: Row
    found: Mapping[str, Difference | None]


@dataclass(frozen=True)
class Comparison:
    """Every two rows of a run on the images of one split.

    Attributes:
        split: whose images.
        images: how many there are.
        pairs: in the order of the rows.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        left_out: rows that are not scored on these images.
    """

    split: str
    images: int
    pairs: Sequence[Pair]
    resamples: int
    seed: int
    left_out: Sequence[Row] = ()

    @property
    def found(self) -> list[Difference]:
        """All differences that there are."""
        return [one for pair in self.pairs for one in pair.found.values() if one is not None]

    def holds(self, first: Row, second: Row, name: str) -> bool:
        """Whether two rows differ in a score beyond chance, as far as the images can tell."""
        return any(
            found is not None and found.holds
            for pair in self.pairs
            if {pair.first.key, pair.second.key} == {first.key, second.key}
            for found in [pair.found[name]]
        )


def compare(
    rows: Sequence[Row], folder: Path, split: str, *, resamples: int, seed: int
) -> Comparison:
    """Compare every two rows.

    Args:
        rows: of one run.
        folder: of the tables `<row>.csv`, a row an image.
        split: of the images.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        PipelineError: a table is missing or malformed, or two are not of the same images.
    """
    scored = [row for row in rows if row.scores.get(split)]
    tables = {row.key: read_scores(folder / f"{row.key}.csv", split) for row in scored}
    for row in scored[1:]:
        one = scored[0].key
        if list(tables[row.key].index) != list(tables[one].index):
            raise PipelineError(
                f"{folder / row.key}.csv and {folder / one}.csv have other {split} images; "
                f"run `dvc repro evaluate@{one} evaluate@{row.key}`"
            )
    pairs = [
        Pair(
            first,
            second,
            {
                name: difference(
                    values(tables[first.key], name),
                    values(tables[second.key], name),
                    resamples=resamples,
                    seed=seed,
                )
                for name in COMPARED
            },
        )
        for first, second in combinations(scored, 2)
    ]
    images = len(tables[scored[0].key]) if scored else 0
    left_out = [row for row in rows if row not in scored]
    return Comparison(split, images, pairs, resamples, seed, left_out)


def differences(comparison: Comparison | None) -> Section:
    """The report's section; of no comparison it says why there is none."""
    anchor, title = "differences", "Which differences hold"
    if comparison is None:
        text = "Training images alone are scored in this run: what they say of methods is nothing."
        return Section(anchor, title, (Notice(text),))
    blocks: list[Block] = [Paragraph(prose.DIFFERENCES_INTRO)]
    if comparison.split != TEST:
        blocks.append(
            Notice(
                f"The test images are not scored in this run: these are its {comparison.split} "
                "images, on which choices were made."
            )
        )
    fewest = min((one.images for one in comparison.found), default=comparison.images)
    if warning := caution(fewest):
        blocks.append(Notice(f"**Take “holds” as a hint.** {warning}"))
    count = len(comparison.found)
    blocks += [
        Bullets(tuple(statements(comparison))),
        differences_table(comparison),
        Paragraph(
            f"{comparison.resamples} resamples of {comparison.images} images, seed "
            f"{comparison.seed}. {prose.CHANCE} Of these {count} intervals, {count / ONE_IN:.1f} "
            f"or more would if no two methods differed. {prose.SEEDS}"
        ),
    ]
    if comparison.left_out:
        titles = ", ".join(escaped(row.title) for row in comparison.left_out)
        blocks.append(Paragraph(f"Not scored on these images, so not compared: {titles}."))
    return Section(anchor, title, tuple(blocks))


def differences_table(comparison: Comparison) -> Table:
    """Each pair with its differences, their intervals, and whether they hold."""
    made = []
    group = ""
    for pair in comparison.pairs:
        cells = [Cell(_short(pair.first)), Cell(_short(pair.second))]
        cells += [_cell(pair.found[name]) for name in COMPARED]
        made.append(TableRow(tuple(cells), starts_group=pair.first.key != group))
        group = pair.first.key
    columns = (
        Column("Method", figures=False),
        Column("less", figures=False),
        *(Column(SCORE_TITLES[name]) for name in COMPARED),
    )
    images = f"{comparison.images} image" + ("" if comparison.images == 1 else "s")
    return Table(
        f"Differences, {SPLIT_TITLES[comparison.split].lower()}, {images}", columns, tuple(made)
    )


def _cell(found: Difference | None) -> Cell:
    if found is None:
        return Cell("too few images")
    return Cell(
        f"{signed(found.mean)} {'holds' if found.holds else 'may be chance'}",
        f"{signed(found.low)} to {signed(found.high)}; higher on {found.wins} of {found.images}",
        strong=found.holds,
    )


def signed(value: float) -> str:
    """A difference as text, with its sign, which a difference of nothing has not."""
    text = f"{value:+.{DIGITS}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def statements(comparison: Comparison) -> list[str]:
    """For each score, which row is above which, and between which nothing can be said."""
    said = []
    for name in COMPARED:
        above: dict[str, list[str]] = {}
        chance, unknown = [], []
        for pair in comparison.pairs:
            first, second = _short(pair.first), _short(pair.second)
            found = pair.found[name]
            if found is None:
                unknown.append(f"{first} and {second}")
            elif not found.holds:
                chance.append(f"{first} and {second}")
            else:
                higher, lower = (first, second) if found.mean > 0 else (second, first)
                above.setdefault(higher, []).append(lower)
        holds = [f"{higher} above {listed(lower)}" for higher, lower in above.items()]
        title = SCORE_TITLES[name]
        said.append(f"**{title} holds**: {'; '.join(holds) or 'no difference'}.")
        if chance:
            said.append(f"**{title} may be chance**: {'; '.join(chance)}.")
        if unknown:
            said.append(f"**{title} of too few images**: {'; '.join(unknown)}.")
    return said


def _short(row: Row) -> str:
    """The row's title without what a comma sets apart, which would be lost in a list."""
    return escaped(row.title.partition(",")[0])


def listed(titles: Sequence[str]) -> str:
    """At least one title, with commas and an "and"."""
    *others, last = titles
    return f"{', '.join(others)} and {last}" if others else last
