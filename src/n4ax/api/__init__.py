"""The Python interface: what :mod:`n4ax` offers as functions."""

from n4ax.api.batch import n4_batch as n4_batch
from n4ax.api.correction import fit as fit
from n4ax.api.correction import n4 as n4
