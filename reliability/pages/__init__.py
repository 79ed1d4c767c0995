"""The page of all figures, rendered from nothing but the JSON of the sections."""
