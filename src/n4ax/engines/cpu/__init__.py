"""The CPU engine: compiled kernels over packed rows, run by threads."""
