"""``python -m n4ax.ants``."""

from n4ax.ants.program import console

if __name__ == "__main__":
    console()
