"""What is fuzzed; see :mod:`reliability.fuzz`."""
