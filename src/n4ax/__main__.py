"""Runs the command line for ``python -m n4ax``."""

from n4ax.cli import console

if __name__ == "__main__":
    console()
