"""The console script: `monuseg COMMAND`, or `python -m monuseg COMMAND`."""

import argparse

from monuseg.core.command import parser, run
from monuseg.segment.arguments import (
    EXPORT,
    SEGMENT,
    add_export_arguments,
    add_segment_arguments,
)

EXAMPLES = """\
examples:
  monuseg segment photo.jpg slide.svs folder/
  monuseg export unet --format onnx --output unet.onnx"""


def main() -> None:
    """Run the command that the command line names."""
    made = parser("Segment nuclei in H&E images.", prog="monuseg")
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.epilog = EXAMPLES
    commands = made.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, said, description, add_arguments, work in (
        ("segment", "find the nuclei of images", SEGMENT, add_segment_arguments, _segment),
        ("export", "write a network for other programs", EXPORT, add_export_arguments, _export),
    ):
        command = commands.add_parser(
            name,
            help=said,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_arguments(command)
        command.set_defaults(main=work)
    arguments = made.parse_args()
    # `segment` reads nothing of a project, and writes where the user is.
    run(arguments.main, arguments, in_project=arguments.main is not _segment)


# What the commands do is imported when they run: `--help` is not to wait for it.


def _segment(arguments: argparse.Namespace) -> None:
    from monuseg.segment import command

    command.main(arguments)


def _export(arguments: argparse.Namespace) -> None:
    from monuseg.segment import export

    export.main(arguments)


if __name__ == "__main__":
    main()
