"""The method: N4's mathematics on arrays in ITK's axis order."""
