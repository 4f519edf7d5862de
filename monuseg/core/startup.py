"""How a command ends that is interrupted while Python still imports it."""

import signal
import sys


def end_quietly_on_interrupt() -> None:
    """Let Ctrl-C end the process as it does a program in C, until `monuseg.core.command.run`.

    Imports take seconds, and Ctrl-C within one would end in a traceback. It counts only while
    `python -m` looks for what to run, so that importing the package as a library changes nothing.
    """
    if sys.argv[0] == "-m" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
