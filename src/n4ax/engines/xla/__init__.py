"""The XLA engine: the page of the solver as one JAX program."""
