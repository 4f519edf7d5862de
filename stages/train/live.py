"""Curves of a training while it runs, by DVCLive, where MONUSEG_LIVE asks for them."""

import os
from collections.abc import Callable, Mapping

from monuseg.core.errors import PipelineError
from monuseg.core.settings import whole_number

FOLDER = "dvclive"  # no output of any stage, and git ignores it

Curves = Callable[[Mapping[str, float | None]], None]


def curves_of(model: str, environment: Mapping[str, str] = os.environ) -> Curves:
    """What draws one epoch's row of the history; without MONUSEG_LIVE, or at 0, it does nothing.

    Curves of an earlier training of the model are removed. Nothing is sent anywhere, and no
    experiment of DVC is made.

    Raises:
        PipelineError: MONUSEG_LIVE is no whole number, or DVCLive is not installed.
    """
    if not whole_number(environment, "MONUSEG_LIVE", 0):
        return lambda row: None
    try:
        from dvclive import Live
    except ModuleNotFoundError as error:
        raise PipelineError(
            f"MONUSEG_LIVE: {error}; pip install -c constraints.txt dvclive, or unset it"
        ) from error
    os.environ["DVC_STUDIO_OFFLINE"] = "1"  # else a token in DVC's configuration means to send
    live = Live(f"{FOLDER}/{model}", report=None, save_dvc_exp=False, dvcyaml=None)

    def draw(row: Mapping[str, float | None]) -> None:
        scores = dict(row)
        live.step = scores.pop("epoch")
        for name, score in scores.items():
            if score is not None:
                live.log_metric(name, score)
        # Not `next_step` and `end`: of models that train side by side, one removes a file that
        # the other is about to remove.
        live.make_summary()

    return draw
