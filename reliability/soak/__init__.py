"""Memory that runs out, thousands of solves in one process, peaks of memory, and warnings."""
