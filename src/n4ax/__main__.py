"""``python -m n4ax``: the command line."""

from n4ax.cli import console

if __name__ == "__main__":
    console()
