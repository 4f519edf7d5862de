"""The lesson docs/tour.ipynb: kept without outputs, and run in a real kernel on the smoke data."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from tests.repository import REPOSITORY, Project, environment_of

pytestmark = pytest.mark.graph

TOUR = Path("docs/tour.ipynb")
CELLS_MAX = 15
PATIENCE = 300  # seconds until a kernel must have started: machines that run tests are busy
SAME_SCORES = re.compile(r"^(Dice .*, AJI .*, PQ [\d.]+)\n\1 in metrics/per_image$", re.MULTILINE)


@pytest.fixture
def tour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NotebookNode:
    """The notebook as it is in git; what Jupyter keeps of a user's is the test's own."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return nbformat.read(REPOSITORY / TOUR, as_version=nbformat.NO_CONVERT)


def run(tour: NotebookNode, folder: Path, environment: dict[str, str]) -> None:
    """Run all cells in the notebook's own folder of a copy of the repository."""
    notebook = folder / TOUR
    notebook.parent.mkdir(exist_ok=True)
    place = {"metadata": {"path": str(notebook.parent)}}
    client = NotebookClient(tour, resources=place, startup_timeout=PATIENCE)
    client.execute(env=environment | {"PYTHONPATH": str(folder)})


def code_of(tour: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in tour.cells if cell.cell_type == "code"]


def test_it_is_a_short_valid_notebook_without_outputs(tour: NotebookNode) -> None:
    nbformat.validate(tour)
    assert len(tour.cells) <= CELLS_MAX
    for cell in code_of(tour):
        assert cell.outputs == []
        assert cell.execution_count is None


def test_every_step_shows_a_picture_and_agrees_with_what_its_stage_wrote(
    tour: NotebookNode, graph: Project
) -> None:
    run(tour, graph.folder, graph.environment)
    printed = []
    for cell in code_of(tour):
        assert [out.output_type for out in cell.outputs if "image/png" in out.get("data", {})] == [
            "execute_result"
        ]
        assert all(out.get("name", "stdout") == "stdout" for out in cell.outputs), cell.outputs
        printed += [out.text for out in cell.outputs if out.output_type == "stream"]
    said = "".join(printed)
    assert re.search(r"the same as data/masks/.*: True$", said, re.MULTILINE)
    assert "largest difference from data/predictions/unet: 0.0" in said
    assert SAME_SCORES.search(said)


def test_without_data_it_says_in_a_line_how_to_make_them(
    tour: NotebookNode, project: Path, tmp_path: Path
) -> None:
    with pytest.raises(CellExecutionError):
        run(tour, project, environment_of(tmp_path))
    [error] = [out for out in code_of(tour)[0].outputs if out.output_type == "error"]
    assert error.ename == "SystemExit"
    assert "run `make repro`" in error.evalue
