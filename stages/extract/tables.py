"""What the tables `organs.csv` say of images."""

import csv
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from monuseg.core.errors import PipelineError
from monuseg.readers.resolution import require_plausible
from stages.extract.archives import Member
from stages.extract.layouts import id_of

TABLE_BYTES_MAX = 1 << 20
ID, ORGAN, PATIENT, UM_PER_PIXEL = "id", "organ", "patient", "um_per_pixel"
METADATA = (ORGAN, PATIENT, UM_PER_PIXEL)


@dataclass(frozen=True)
class Metadata:
    """What the tables say of an image; None where they say nothing.

    Attributes:
        organ: lower case.
        patient: whom it shows.
        um_per_pixel: micrometres per pixel.
    """

    organ: str | None = None
    patient: str | None = None
    um_per_pixel: float | None = None


def read_tables(tables: Sequence[Member]) -> tuple[dict[str, Metadata], list[str]]:
    """What all tables say together.

    The columns are `id` and at least one of `organ`, `patient` and `um_per_pixel`; an empty cell
    says nothing.

    Returns:
        What is said of each id, by `key_of` it; and other columns, which are not used.

    Raises:
        PipelineError: a table is no CSV in UTF-8, lacks its columns or has one twice, has a row
            that is longer than its first or names no id, a character that does not print or a
            number that is none, or contradicts what was said of the same image before.
    """
    cells: dict[str, dict[str, str]] = {}
    metadata: dict[str, Metadata] = {}
    unused: dict[str, None] = {}
    for table in tables:
        rows, names = _read(table)
        unused |= dict.fromkeys(repr(name) for name in names if name not in (ID, *METADATA))
        for image_id, row in rows:
            key = key_of(image_id)
            known = cells.setdefault(key, {})
            for name, value in row.items():
                if known.setdefault(name, value) != value:
                    raise PipelineError(
                        f"{table}: {image_id} is {value} here and {known[name]} before; keep one"
                    )
            metadata[key] = Metadata(
                organ=known.get(ORGAN),
                patient=known.get(PATIENT),
                um_per_pixel=_number(known.get(UM_PER_PIXEL), f"{table}: {image_id}"),
            )
    return metadata, list(unused)


def key_of(image_id: str) -> str:
    """What an id is looked up by: letter case and the ways to write an accent do not count."""
    return unicodedata.normalize("NFC", id_of(image_id)).casefold()


def _read(table: Member) -> tuple[list[tuple[str, dict[str, str]]], Sequence[str]]:
    """Ids and the cells that are not empty, by column; and the names of all columns."""
    content = table.read(TABLE_BYTES_MAX)
    try:
        # utf-8-sig: Excel begins its CSV with a byte-order mark.
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        names = reader.fieldnames or []
        rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise PipelineError(f"{table}: no CSV in UTF-8 ({error}); save it as such") from error
    if ID not in names or not set(METADATA) & set(names):
        raise PipelineError(
            f"{table}: expected the columns id,organ (or patient, um_per_pixel); found {names}; "
            "name them in its first line"
        )
    twice = [name for name in (ID, *METADATA) if names.count(name) > 1]
    if twice:
        raise PipelineError(f"{table}: has the column {twice[0]!r} twice; remove one")
    found = []
    for row in rows:
        if None in row:
            raise PipelineError(
                f"{table}: the row of {row[ID]!r} has more cells than the first; "
                'put a cell with a comma in it in quotes, as "a, b"'
            )
        cells = {name: _cleaned(row.get(name) or "", table) for name in (ID, *METADATA)}
        cells[ORGAN] = cells[ORGAN].lower()
        image_id = cells.pop(ID)
        said = {name: cell for name, cell in cells.items() if cell}
        if image_id:
            found.append((image_id, said))
        elif said:
            raise PipelineError(
                f"{table}: a row says {said} of no id; name its image, or remove it"
            )
    return found, names


def _cleaned(cell: str, table: Member) -> str:
    """A cell in composed form, with its white space, line ends among it, as single spaces."""
    words = unicodedata.normalize("NFC", " ".join(cell.split()))
    if not words.isprintable():
        raise PipelineError(f"{table}: {words!r} has characters that do not print; remove them")
    return words


def _number(cell: str | None, name: str) -> float | None:
    if cell is None:
        return None
    try:
        value = float(cell)
    except ValueError as error:
        raise PipelineError(
            f"{name}: um_per_pixel is {cell!r}; write a number with a decimal point, as 0.25"
        ) from error
    require_plausible(value, name=f"{name}: um_per_pixel")
    return value
