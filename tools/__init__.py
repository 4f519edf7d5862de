"""The commands of a clone beside the graph, run as `python -m tools.<command>`."""

from monuseg.core.startup import end_quietly_on_interrupt

end_quietly_on_interrupt()
