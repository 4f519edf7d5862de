"""Segmentation of nuclei in H&E images: a module a DVC stage, run as `python -m stages.<stage>`."""

import signal
import sys

# Imports take seconds, and Ctrl-C within one ends in a traceback. So until `stages.command.run`
# takes over it ends the process as it does a program in C. (`-m`: Python looks for what to run.)
if sys.argv[0] == "-m" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
