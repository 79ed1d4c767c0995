"""The options that ask for the same bits as ITK."""

import click

from n4ax.cli.layout import combine_options, under_heading

_itk = under_heading("Same bits as ITK")

SAME_BITS = combine_options(
    _itk(
        "--arithmetic",
        type=click.Choice(("limit", "itk")),
        help="itk gives what ITK computes with a given number of threads, to the last bit; it "
        "needs the CPU engine, and Linux on x86-64. limit gives what ITK tends to with many "
        "threads, which is faster.  [default: the variable N4AX_ARITHMETIC, else limit]",
    ),
    _itk(
        "--itk-version",
        type=int,
        metavar="5|6",
        help="Follow ITK 5 (SimpleITK to 2.5, ANTs to 2.6) or ITK 6.  [default: the variable "
        "N4AX_ITK_VERSION, else 5]",
    ),
    _itk(
        "--itk-threads",
        type=int,
        metavar="N",
        help="With --arithmetic itk: the number of threads that ITK would use. How many compute "
        "it here is set by --num-threads.  [default: 1]",
    ),
    _itk(
        "--itk-tool",
        type=click.Choice(("simpleitk", "ants")),
        help="With --arithmetic itk: the tool that would use these threads, because ANTs (also "
        "ANTsPy, and ITK's own Python package) divides the work in another way.  [default: "
        "simpleitk]",
    ),
    _itk(
        "--itk-work-units",
        type=int,
        metavar="N",
        help="With --arithmetic itk: the number of parts that ITK would divide the work into, "
        "instead of a number of threads.",
    ),
)
