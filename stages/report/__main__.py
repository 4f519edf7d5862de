"""Stage `report`: the page of tables, charts and pictures, as HTML and as Markdown."""

import argparse

from monuseg.core.command import parser, run


def main(arguments: argparse.Namespace) -> None:
    """Write metrics/report.md and metrics/report.html.

    Raises:
        PipelineError: a file that the report is made of is missing or malformed.
    """
    # Not above: the libraries of charts and tables take seconds to load.
    from stages.report.writing import write_report

    write_report()


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args())
