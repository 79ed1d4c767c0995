"""The compiled inner loops of the CPU engine (numba), each over packed rows of voxels.

A kernel that :class:`n4ax.engines.cpu.threads.Threads` runs takes a range ``first:stop`` of
chunks, planes or control rows, and releases the GIL. Inner loops run from 0 to ``n`` over
contiguous arrays with unsigned indices and make no slices. That lets LLVM vectorise them, and
keeps threads from sharing reference counters. Loops that scatter (histogram) or gather (map)
stand on their own between the vector loops.

Names of NumPy stand for numba's types inside a kernel. A type checker does not know those, so
modules with kernels turn off the checks of calls and arguments.
"""
