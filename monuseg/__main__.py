"""The console script: `monuseg COMMAND`, or `python -m monuseg COMMAND`."""

import argparse

from monuseg.core.command import parser, run
from monuseg.segment import command as segment


def main() -> None:
    """Run the command that the command line names."""
    made = parser("Segment nuclei in H&E images.", prog="monuseg")
    commands = made.add_subparsers(title="commands", required=True, metavar="COMMAND")
    one = commands.add_parser(
        "segment",
        help="apply a trained model to images of your own",
        description=segment.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    segment.add_arguments(one)
    one.set_defaults(main=segment.main)
    arguments = made.parse_args()
    run(arguments.main, arguments)


if __name__ == "__main__":
    main()
