"""Whole data sets in the BIDS layout: ``n4ax bids``."""
