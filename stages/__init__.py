"""The graph: a folder a stage, run as `python -m stages.<stage>`."""

from monuseg.core.startup import end_quietly_on_interrupt

end_quietly_on_interrupt()
