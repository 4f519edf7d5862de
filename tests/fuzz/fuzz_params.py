"""Coverage-guided fuzzing of the params loader; see `make fuzz`."""

import atheris

with atheris.instrument_imports(include=["monuseg.core.params", "tools.check", "ruamel.yaml"]):
    from tests.fuzz import contracts

from tests.fuzz import mutations, seeds
from tests.fuzz.fuzzing import fuzz

if __name__ == "__main__":
    fuzz(
        contracts.params,
        seeds=seeds.params(),
        words=seeds.YAML_WORDS,
        mutation=mutations.yaml,
        longest=4096,
    )
