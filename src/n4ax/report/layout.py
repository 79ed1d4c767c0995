"""Names of the files and folders of an output folder that runs write and reports read."""

ERRORS = "n4ax_errors.json"
"""The images that could not be corrected."""

FIGURES = "figures"
"""The folder of each participant with the pictures and records of the corrected images."""

GROUP_PAGE = "group.html"
"""The report of the group."""

STUDY = "n4ax_study.json"
"""The settings of the output folder, and the runs that wrote to it."""

RATINGS = "ratings.tsv"
"""What people think of the corrected images."""

CITATION = "CITATION.md"
"""How the images were corrected, in words for a paper; it lies among the logs."""

GROUP_TABLE = "group_{suffix}.tsv"
"""The table of all scans with a suffix, beside which a JSON file describes the columns."""

GROUP_TABLES = "group_*.tsv"
"""A pattern of the names of these tables."""
