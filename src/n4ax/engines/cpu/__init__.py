"""The CPU engine: compiled kernels over packed rows of voxels, run by threads."""
