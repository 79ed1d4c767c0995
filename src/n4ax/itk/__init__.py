"""Whatever is needed only to match ITK to the last bit: positions in space, and rounding."""
