"""What stage `masks` says: what was dropped and cut, which layers there are, in few lines."""

from collections import Counter
from collections.abc import Iterable, Sequence

from monuseg.core.errors import PipelineError
from stages.masks.label_maps import CLIPPED, Remark, Written

LINES_MAX = 20  # about regions
NAMES_MAX = 20  # in a line
NAME_MAX = 40  # characters


def require_known(layers: Sequence[str], written: Iterable[Written]) -> None:
    """Refuse a choice of layers that names one which no annotation has.

    Raises:
        PipelineError: it does.
    """
    there = {name for one in written for name in one.layers if name}
    unknown = [name for name in layers if name not in there]
    if unknown:
        found = f"there are {_listed(sorted(there))}" if there else "no layer has a name"
        raise PipelineError(
            f"params.yaml: masks.layers: no annotation has a layer {_listed(unknown)}; {found}"
        )


def lines(written: Sequence[Written], layers: Sequence[str]) -> list[str]:
    """All that a user must know of regions that are not in the label maps as outlined.

    Args:
        written: what became of each image's regions.
        layers: names of the layers that count; none: all.
    """
    grouped: dict[tuple[str, str], list[Remark]] = {}
    for one in written:
        for remark in one.remarks:
            if remark.remark != CLIPPED:
                grouped.setdefault((remark.id, remark.remark), []).append(remark)
    said = []
    for (image_id, words), regions in grouped.items():
        first = f"{image_id}: layer {regions[0].layer}, region {regions[0].region}"
        more = f" and {len(regions) - 1} more" if len(regions) > 1 else ""
        said.append(f"{first}{more}: {words}")
    if len(said) > LINES_MAX:
        rest = len(said) - LINES_MAX
        said[LINES_MAX:] = [f"and {rest} more lines like these; data/masks/regions.csv has all"]
    return [*said, *_on_layers(written, layers), *_on_empty_images(written)]


def _on_layers(written: Sequence[Written], layers: Sequence[str]) -> list[str]:
    regions: Counter[str] = Counter()
    for one in written:
        regions.update(one.layers)
    if len(regions) < 2:
        return []
    there = ", ".join(
        f"{_shown(name) if name else 'without a name'} ({number})"
        for name, number in regions.most_common(NAMES_MAX)
    )
    more = f" and {len(regions) - NAMES_MAX} more" if len(regions) > NAMES_MAX else ""
    chosen = f"only {_listed(layers)} count" if layers else "all count, see masks.layers"
    return [f"layers of the annotations (regions): {there}{more}; {chosen}"]


def _on_empty_images(written: Sequence[Written]) -> list[str]:
    empty = [one.count.id for one in written if one.count.nuclei == 0]
    if not empty:
        return []
    return [f"{len(empty)} image(s) without a nucleus in their annotation: {_listed(empty)}"]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return ", ".join(_shown(name) for name in names[:NAMES_MAX]) + more


def _shown(name: str) -> str:
    return repr(name if len(name) <= NAME_MAX else f"{name[: NAME_MAX - 3]}...")
