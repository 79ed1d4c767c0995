"""What shows that n4ax is reliable: fuzzing, faults, mutants, soaking, and numerical stability."""
