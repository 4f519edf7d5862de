"""Coverage-guided fuzzing of the readers of outlines and the rasterisation; see `make fuzz`."""

import atheris

with atheris.instrument_imports(include=["monuseg.readers", "stages.masks", "defusedxml"]):
    from tests.fuzz import contracts

from tests.fuzz import mutations, seeds
from tests.fuzz.fuzzing import fuzz

if __name__ == "__main__":
    fuzz(
        contracts.annotation,
        seeds=seeds.annotations(),
        words=seeds.XML_WORDS,
        mutation=mutations.xml,
        longest=4096,
    )
