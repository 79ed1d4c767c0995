"""The verdict on a correction."""
