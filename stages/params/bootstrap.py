"""Of block `evaluate`, what intervals are made with: for who compares rows that are scored."""

from typing import Any, ClassVar

from pydantic import Field

from stages.params.block import LARGEST_SEED, Block


class BootstrapParams(Block):
    """Two keys of block `evaluate`, so that its others make no comparison stale.

    The whole block is `stages.params.evaluate.EvaluateParams`.

    Attributes:
        bootstrap: resamples of the images for 95 % intervals.
        seed: of the draws.
    """

    key: ClassVar[str] = "evaluate"

    bootstrap: int = Field(ge=1, le=1_000_000)
    seed: int = Field(ge=0, le=LARGEST_SEED)

    @classmethod
    def dvc_keys(cls) -> list[str]:
        """The keys one by one."""
        return [f"{cls.key}.{name}" for name in cls.model_fields]

    @classmethod
    def select(cls, content: dict[str, Any]) -> Any:
        """The block's own keys; what else the block holds, stage `evaluate` validates."""
        block = content[cls.key]
        if not isinstance(block, dict):
            return block
        return {name: block[name] for name in cls.model_fields if name in block}
