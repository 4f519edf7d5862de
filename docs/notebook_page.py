"""A hook of MkDocs: the notebook `tour.ipynb` as a page, with pictures where there are data."""

from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

NOTEBOOK = Path(__file__).with_name("tour.ipynb")
SCORED = Path(__file__).parents[1] / "data" / "predictions" / "unet.json"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page and its pictures; of a clone without data it shows the code alone."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    if SCORED.is_file():
        NotebookClient(notebook, resources={"metadata": {"path": NOTEBOOK.parent}}).execute()
    body, resources = MarkdownExporter().from_notebook_node(
        notebook, {"output_files_dir": NOTEBOOK.stem}
    )
    files.append(File.generated(config, f"{NOTEBOOK.stem}.md", content=body))
    for name, content in resources["outputs"].items():
        files.append(File.generated(config, name, content=content))
    return files
