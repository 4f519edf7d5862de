"""OpenVINO as the project imports it: without the package that tells Google Analytics of it."""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
