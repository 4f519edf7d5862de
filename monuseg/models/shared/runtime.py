"""What Keras runs on; shared by the blocks `train` and `predict`."""

from typing import Literal

from pydantic import Field

from monuseg.core.params import Block

Backend = Literal["tensorflow", "jax", "torch"]
Device = Literal["auto", "gpu", "cpu"]
Precision = Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]
Xla = Literal["auto", "on", "off"]


class RuntimeParams(Block):
    """The keys of a block whose stage computes with Keras: each can change the bytes.

    Attributes:
        backend: Keras's backend.
        device: "gpu" without one is an error; "auto" takes one if there is one.
        precision: Keras's dtype policy; "auto" is mixed on a GPU and float32 elsewhere.
        xla: compilation by XLA; "auto" is on for a GPU unless `deterministic` rules it out.
        deterministic: only operations that give the same bytes each time.
        threads: of one operation on a CPU; sums are split by it, so results depend on it.
    """

    backend: Backend
    device: Device
    precision: Precision
    xla: Xla
    deterministic: bool
    threads: int = Field(ge=1, le=256)
