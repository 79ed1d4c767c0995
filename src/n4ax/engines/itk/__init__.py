"""The engine that computes with ITK's arithmetic, to the last bit of ITK's answer."""
