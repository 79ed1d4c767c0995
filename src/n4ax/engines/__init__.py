"""The machines that carry out the primitives of :mod:`n4ax.method.solver`."""
