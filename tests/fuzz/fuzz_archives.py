"""Coverage-guided fuzzing of zip archives, their layouts, images and tables; see `make fuzz`."""

import atheris

with atheris.instrument_imports(include=["stages.extract", "monuseg.readers", "zipfile", "csv"]):
    from tests.fuzz import contracts

from tests.fuzz import mutations, seeds
from tests.fuzz.fuzzing import fuzz

if __name__ == "__main__":
    fuzz(
        contracts.archive,
        seeds=seeds.archives(),
        words=seeds.ZIP_WORDS,
        mutation=mutations.archive,
        longest=8192,
    )
