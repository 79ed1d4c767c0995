"""The engines that carry out the operations of :mod:`n4ax.method.solver`."""
