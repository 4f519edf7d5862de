"""What Keras runs on; shared by the blocks `train` and `predict`."""

from typing import Literal

from pydantic import Field

from monuseg.core.params import Block

Backend = Literal["tensorflow", "jax", "torch", "openvino"]
Device = Literal["auto", "gpu", "cpu"]
Precision = Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]
Xla = Literal["auto", "on", "off"]


class RuntimeParams(Block):
    """The keys of a block whose stage computes with Keras; each can change the results' bytes.

    Attributes:
        backend: Keras's backend; openvino only predicts.
        device: "gpu" is an error without one; "auto" uses one if there is one.
        precision: Keras's dtype policy; "auto" is mixed on a GPU, mixed_bfloat16 for TensorFlow and
            OpenVINO on a processor that is faster in it, and float32 elsewhere.
        xla: compilation by XLA; "auto" is on for a GPU unless `deterministic` rules it out.
        deterministic: only operations that give the same bytes each time.
        threads: per operation on a CPU; sums are split among them, so their number changes results.
    """

    backend: Backend
    device: Device
    precision: Precision
    xla: Xla
    deterministic: bool
    threads: int = Field(ge=1, le=256)
