"""``python -m n4ax``: the command line."""

import sys

from n4ax.cli import main

sys.exit(main())
