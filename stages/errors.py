"""The one exception that a user is meant to read."""


class PipelineError(Exception):
    """Bad input: one line that names the file, the place in it and the remedy.

    `stages.command.run` prints it on standard error without a traceback and exits 1.
    """
