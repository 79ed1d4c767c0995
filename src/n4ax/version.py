"""The version of n4ax, in one place."""

__version__ = "0.2.0"
