"""The XLA engine: the solver's page as one JAX program."""
