"""What commands and worker processes load before they begin: large libraries only if they use them.

Not a timing, which would depend on the machine: of these libraries each takes from a tenth of a
second to several.
"""

import subprocess
import sys

import pytest

BACKENDS = {"keras", "tensorflow", "jax", "torch"}
SCIENCE = {"scipy", "skimage"}
WEB = {"requests", "gdown", "bs4"}
PLOTS = {"altair", "vl_convert", "jinja2"}
# In a worker locks and tables are of no use.
PARENTS = {"pandas", "filelock"}

UNUSED = {
    "stages.download.__main__": BACKENDS | SCIENCE | WEB | PLOTS | {"pandas"},
    "stages.extract.__main__": BACKENDS | SCIENCE | WEB | PLOTS | {"pandas"},
    "stages.masks.__main__": BACKENDS | SCIENCE | WEB | PLOTS,
    "stages.tile.__main__": BACKENDS | SCIENCE | WEB | PLOTS,
    "stages.baseline.__main__": BACKENDS | WEB | PLOTS,
    "stages.ensemble.__main__": BACKENDS | SCIENCE | WEB | PLOTS,
    "stages.evaluate.__main__": BACKENDS | WEB | PLOTS,
    "stages.report.__main__": BACKENDS | SCIENCE | WEB | PLOTS | PARENTS,
    # What worker processes load of the stages that run in parallel.
    "stages.masks.label_maps": BACKENDS | SCIENCE | WEB | PLOTS | PARENTS,
    "stages.tile.tiles": BACKENDS | SCIENCE | WEB | PLOTS | PARENTS,
    "stages.baseline.otsu": BACKENDS | WEB | PLOTS | PARENTS,
    "stages.ensemble.mean": BACKENDS | SCIENCE | WEB | PLOTS | PARENTS,
    "stages.evaluate.images": BACKENDS | WEB | PLOTS | PARENTS,
    # Commands that people wait for.
    "monuseg.__main__": BACKENDS | SCIENCE | WEB | PLOTS | PARENTS | {"numpy", "pydantic", "cv2"},
    "tools.__main__": BACKENDS | SCIENCE | WEB | PLOTS | PARENTS | {"numpy", "pydantic"},
    "tools.check": BACKENDS | SCIENCE | WEB | PLOTS | {"pandas"},
    "tools.preset": BACKENDS | SCIENCE | WEB | PLOTS | {"pandas"},
}


def loaded(module: str) -> set[str]:
    """The packages that importing a module loads, in a process of its own."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("module", UNUSED)
def test_it_starts_without_what_it_does_not_use(module: str) -> None:
    assert not loaded(module) & UNUSED[module]


def test_what_a_function_needs_is_loaded_when_it_is_called() -> None:
    assert "scipy" in loaded("stages.baseline.otsu")
    assert {"altair", "pandas"} <= loaded("stages.report.writing")
