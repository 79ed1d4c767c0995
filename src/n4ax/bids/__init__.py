"""Correct whole datasets in the BIDS layout, as ``n4ax bids`` does."""
