"""The bias field as a spline: evaluate it on any grid, apply it to any image, keep it in a file."""

from n4ax.field.bias_field import BiasField as BiasField
from n4ax.field.outside import fill_outside as fill_outside
