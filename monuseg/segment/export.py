"""What `monuseg export` does: a network as a file that other programs compute.

Its input is (images, height, width, 3), RGB from 0 to 255 in float32; its output (images, height,
width, classes), probabilities of the card's classes in float32. Any number of images, and any
height and width that the architecture's divisor divides. Scaling is inside; the normalisation of
stains, which looks at a whole image, is not.
"""

import argparse
import importlib.util
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monuseg.core.errors import PipelineError, one_line
from monuseg.core.files import replacing, replacing_folder
from monuseg.models.shared import backend
from monuseg.models.shared.registry import architecture
from monuseg.models.shared.scaling import IMAGENET_MEAN, UINT8_MIDDLE
from monuseg.segment.models import CARD, WEIGHTS, find, predict_params
from monuseg.segment.options import ExportFormat, pretrained
from monuseg.segment.packages import require_packages

# What a format needs besides Keras, and how its files end.
NEEDED: dict[ExportFormat, tuple[str, ...]] = {
    "onnx": ("tensorflow", "tf2onnx"),
    "savedmodel": ("tensorflow",),
    "keras": (),
}
ENDINGS: dict[ExportFormat, str] = {"onnx": ".onnx", "keras": ".keras"}
# What a folder holds that is a SavedModel.
SAVED_MODEL = "saved_model.pb"


def main(arguments: argparse.Namespace) -> None:
    """Write the network, and say what it expects.

    Raises:
        PipelineError: a package is missing, the output's place is not one for the format, or the
            model cannot be loaded or is several.
    """
    form: ExportFormat = arguments.format
    output: Path = arguments.output
    require_packages(f"--format {form}", NEEDED[form])
    require_place(output, form)
    folder, name, notice = network_of(str(arguments.model))
    model, card = _load(folder, name, form)
    write(model, card.scaling, output, form)
    if notice:
        print(f"{name}: {notice}")
    divisor = architecture(card.model).divisor
    print(
        one_line(
            f"{output}: from RGB of 0 to 255, float32 (images, height, width, 3), sides multiples "
            f"of {divisor}, to probabilities of {', '.join(card.classes)}"
        )
    )
    print(
        f"not in it: images have {card.um_per_pixel:.3g} um per pixel, stain normalisation "
        f"{card.stain_normalisation} (monuseg.inference.stain)"
    )


def network_of(model: str) -> tuple[Path, str, str | None]:
    """The one network that a model is.

    A trained one needs no evaluation, which `find` demands: that chooses how nuclei are told apart,
    and nothing of it is in the file.

    Args:
        model: as `find` takes it.

    Returns:
        Its folder and name; and the notice of the terms that it comes under, or None.

    Raises:
        PipelineError: there is none, or it is several.
    """
    path, notice = Path(model), None
    members: Sequence[tuple[Path, str]]
    if path.is_dir() and model not in pretrained():
        members = [(path, card.name.removesuffix(CARD)) for card in sorted(path.glob(f"*{CARD}"))]
    else:
        members = [(path.parent, path.name.removesuffix(WEIGHTS).removesuffix(CARD))]
    if model in pretrained() or not all((at / f"{name}{CARD}").is_file() for at, name in members):
        named = find(model)  # of a trained one that is not there, it says so
        members, notice = named.members, named.notice
    if not members:
        raise PipelineError(f"{model}: no model in it; name a folder such as data/models")
    if len(members) > 1:
        raise PipelineError(f"{model}: {len(members)} networks; name one of them")
    [(folder, name)] = members
    return folder, name, notice


def require_place(output: Path, form: ExportFormat) -> None:
    """Refuse to write where what stands there would be lost, or under a name of another format.

    Raises:
        PipelineError: `output` ends otherwise than the format's files do, or is to become a
            SavedModel's folder and is something else.
    """
    ending = ENDINGS.get(form)
    if ending and output.suffix != ending:
        raise PipelineError(f"--output {output}: name a file that ends in {ending}")
    if not ending and output.exists() and not (output / SAVED_MODEL).is_file():
        raise PipelineError(f"--output {output}: exists and is no SavedModel; name a new folder")


def write(model: Any, scaling: str, output: Path, form: ExportFormat) -> None:
    """Write a network with scaling and sigmoid, all or nothing.

    Args:
        model: of Keras, from scaled pixels to logits; for `onnx` and `savedmodel` on TensorFlow.
        scaling: how pixels become its inputs; see `monuseg.models.shared.scaling`.
        output: the file, or of `savedmodel` the folder.
        form: the format.
    """
    import keras

    # Also what no file of Keras's holds: ONNX Runtime refuses atrous convolution as oneDNN has it.
    whole = with_scaling(in_layers_of_keras(model), scaling)
    if form == "keras":
        with replacing(output) as temporary:
            whole.save(temporary)
        return
    # Named, since a model that was never called states no input of its own.
    pixels = keras.InputSpec(shape=(None, None, None, 3), dtype="float32", name="pixels")
    options = {"input_signature": [pixels], "verbose": False}
    if form == "onnx":
        with replacing(output) as temporary, warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # Keras asks NumPy for `np.object`
            whole.export(str(temporary), format="onnx", **options)
    else:
        with replacing_folder(output) as temporary:
            whole.export(str(temporary), format="tf_saved_model", **options)


def with_scaling(model: Any, scaling: str) -> Any:
    """A Keras model from pixels to probabilities.

    Args:
        model: of Keras, from scaled pixels to logits.
        scaling: a name in `monuseg.models.shared.scaling`.
    """
    import keras

    pixels = keras.Input((None, None, 3), name="pixels")
    logits = model(_scaled(pixels, scaling))
    probabilities = keras.layers.Activation("sigmoid", name="probabilities")(logits)
    return keras.Model(pixels, probabilities, name=f"{model.name}_from_pixels")


def in_layers_of_keras(model: Any) -> Any:
    """The same network with Keras's own convolution, normalisation and ReLU.

    A file of U-Net then opens with Keras alone; SegNet and DeepLabV3+ have layers that Keras lacks.
    """
    import keras

    from monuseg.models.shared.activation import ReLU
    from monuseg.models.shared.convolution import Conv2D, Conv2DTranspose
    from monuseg.models.shared.normalisation import BatchNormalization

    kinds = {
        BatchNormalization: keras.layers.BatchNormalization,
        Conv2D: keras.layers.Conv2D,
        Conv2DTranspose: keras.layers.Conv2DTranspose,
        ReLU: keras.layers.ReLU,
    }

    def own(layer: Any) -> Any:
        return kinds.get(type(layer), type(layer)).from_config(layer.get_config())

    made = keras.models.clone_model(model, clone_function=own)
    made.set_weights(model.get_weights())
    return made


def _scaled(pixels: Any, scaling: str) -> Any:
    """`SCALINGS[scaling]` in layers of Keras."""
    import keras

    if scaling == "symmetric":
        return keras.layers.Rescaling(1 / float(UINT8_MIDDLE), -1.0, name="scaling")(pixels)
    if scaling == "caffe":
        turned = keras.ops.flip(pixels, axis=-1)
        return keras.layers.Rescaling(1.0, (-IMAGENET_MEAN).tolist(), name="scaling")(turned)
    raise ValueError(f"unknown scaling {scaling!r}")


def _load(folder: Path, name: str, form: ExportFormat) -> tuple[Any, Any]:
    """The network and its card, on a backend that can write the format."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # no word on how TensorFlow goes about it
    params = predict_params(_backend(form))
    backend.configure(params.model_copy(update={"device": "cpu", "precision": "float32"}), seed=0)
    # Only now, since this imports Keras, and Keras reads its backend when it is imported.
    from monuseg.models.shared import store

    return store.load(folder, name)


def _backend(form: ExportFormat) -> str:
    # Keras imports TensorFlow to store a model, if it is installed: silently only if set up for it.
    free = not os.environ.get("KERAS_BACKEND") and importlib.util.find_spec("tensorflow")
    return "tensorflow" if NEEDED[form] or free else "auto"
