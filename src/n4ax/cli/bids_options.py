"""The options of ``n4ax bids``, and the lists of values that BIDS Apps take."""

import re

import click

from n4ax.cli.call import WORDS
from n4ax.cli.layout import Command, combine_options, under_heading
from n4ax.cli.options import (
    FOLDER,
    INPUT_FILE,
    b0_threshold,
    engine,
    read_mask,
    read_series,
)

LEVELS = ("participant", "group")
RATINGS = ("accept", "unsure", "reject")
_BYTES = {"": 1.0, "G": 1.0, "M": 1e-3, "K": 1e-6, "T": 1e3}
"""The units of memory in GB."""
_LISTS = (
    "--participant-label",
    "--session-label",
    "--suffix",
    "--shared-field",
    "--derivatives",
    "-d",
)


class ListCommand(Command):
    """A command whose lists can be given as in BIDS Apps: ``--participant-label 01 02``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each value of a list, which is the form that click reads."""
        ctx.meta[WORDS] = list(args)
        repeated: list[str] = []
        place = 0
        while place < len(args):
            repeated.append(args[place])
            name = args[place].replace("_", "-")
            place += 1
            if name not in _LISTS:
                continue
            end = place
            while end < len(args) and not args[end].startswith("-"):
                end += 1
            values = args[place:end]
            if len(values) > 3 and values[-1] in LEVELS:  # the last three are the arguments
                values = values[:-3]
            repeated += [word for value in values[1:] for word in (value, args[place - 1])]
            repeated += values[:1]
            place += len(values)
        return super().parse_args(ctx, repeated)


def read_gigabytes(
    _context: click.Context, option: click.Parameter, text: str | None
) -> float | None:
    """Read an amount of memory as GB: ``16``, ``16GB`` or ``800MB``."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+\.?\d*)\s*([GMKT]?)B?", text.strip(), re.IGNORECASE)
    if found is None or float(found[1]) == 0:
        raise click.BadParameter(f"{text!r} is not of the form 16, 16GB or 800MB", param=option)
    return float(found[1]) * _BYTES[found[2].upper()]


_which = under_heading("Which images")
_volumes = under_heading("Series of volumes (4-D)")
_machine = under_heading("Machine")
_cluster = under_heading("Cluster")
_run = under_heading("This run")

IMAGES = combine_options(
    _which(
        "--suffix", "suffixes", multiple=True, metavar="SUFFIX...",
        help="Kinds of images, such as T1w, bold or dwi. inplane means both inplaneT1 and "
        "inplaneT2; boldref includes sbref.  [default: T1w T2w FLAIR PDw inplane]",
    ),
    _which(
        "--participant-label", "participants", multiple=True, metavar="LABEL...",
        help="Only these participants, with or without sub-.",
    ),
    _which(
        "--session-label", "sessions", multiple=True, metavar="LABEL...",
        help="Only these sessions, with or without ses-.",
    ),
    _which(
        "--rated", multiple=True, type=click.Choice(RATINGS),
        help="Only images that ratings.tsv in OUTPUT_DIR rates so; see n4ax report --ratings.",
    ),
    _which(
        "--bids-filter-file", "filters", type=INPUT_FILE, metavar="FILE",
        help='Filters in the form of fMRIPrep: {"t1w": {"acquisition": "mprage"}}.',
    ),
    _which(
        "--mask", callback=read_mask, metavar="PATTERN|otsu|all",
        help="Where the field is estimated: otsu, all (the whole image), or a pattern of paths of "
        "masks, relative to BIDS_DIR. {sub}, {ses}, {folder}, {stem} and {name} are filled in, and "
        "* stands for any text. Or entities to look for among the derivatives, such as "
        "desc-brain_mask.  [default: otsu; desc-brain_mask with --derivatives; all with --preset "
        "ants or antspy]",
    ),
    _which(
        "--weights", metavar="PATTERN",
        help="Confidence of each voxel; voxels that are not above 0 are left out. A pattern or "
        "entities as above.",
    ),
    _which(
        "--tissues", multiple=True, metavar="PATTERN",
        help="Where tissues are, for --preset auto and for how even they become: images of labels, "
        "such as FreeSurfer's, or maps of probabilities (the option for each). Patterns or "
        "entities as above, such as label-GM_probseg.",
    ),
    _which(
        "-d", "--derivatives", multiple=True, metavar="[NAME=]DIR",
        help="Derivative datasets, such as that of fMRIPrep, in which masks, weights and tissues "
        "are looked for by their entities. NAME stands for the dataset in BIDS URIs.  [default: "
        "the name of the folder]",
    ),
    _which(
        "--shared-field", "shared_field", multiple=True, metavar="session|ENTITY...",
        help="One field for all images of a session that lie on one grid, or for those that differ "
        "in these entities alone: echo, inv, suffix.",
    ),
    _which(
        "--longitudinal", is_flag=True,
        help="With --preset auto: choose one setting for all images of a participant with one "
        "suffix, and not one for each session.",
    ),
    _which(
        "--mask-above", type=float, metavar="P",
        help="Values of the masks above this are inside, for maps of probabilities.",
    ),
    _volumes(
        "--series", callback=read_series, default="mean", show_default=True, metavar="WHICH",
        help="Divide all volumes by one field, estimated on their mean, the first, a volume by its "
        "number (from 0) or the mean of several (0,5,10). Or each: a field for each volume. dwi "
        "always uses the mean of the volumes without diffusion weighting.",
    ),
    b0_threshold(_volumes),
)  # fmt: skip

WORKERS = combine_options(
    _machine(
        "--n-procs", "processes", aliases=("--nprocs", "--n-cpus"),
        type=click.IntRange(min=1), metavar="N",
        help="Images to correct at a time, on this machine or in each job of a cluster.  "
        "[default: one per core if there is enough memory; 1 in a job]",
    ),
    _machine(
        "--num-threads", "threads", aliases=("--nthreads", "--omp-nthreads", "--threads"),
        type=click.IntRange(min=1), metavar="N",
        help="Threads for each image.  [default: cores / images at a time]",
    ),
    _machine(
        "--memory-gb", "memory_gb", aliases=("--mem",), callback=read_gigabytes,
        metavar="GB",
        help="Memory for all images at a time, or of each job on a cluster, in GB or with a unit "
        "such as 800MB. An image that takes more than its share fails.  [default: no limit; 8 in "
        "a job]",
    ),
    engine("xla if this machine has GPUs that JAX can use, else cpu; cpu in jobs"),
    _machine(
        "-w", "--work-dir", "scratch", type=FOLDER, metavar="DIR",
        help="Folder for temporary files and the logs of jobs.  [default: OUTPUT_DIR/.n4ax]",
    ),
    _cluster(
        "--cluster", type=click.Choice(("local", "slurm", "pbs", "lsf", "sge")), default="local",
        show_default=True, help="Where to work: on this machine, or in jobs of a queueing system.",
    ),
    _cluster("--jobs", type=click.IntRange(min=1), metavar="N", default=1, show_default=True,
             help="Number of jobs to submit."),
    _cluster("--walltime", metavar="HH:MM:SS", help="Time limit of a job."),
    _cluster("--queue", metavar="NAME", help="Queue or partition of the jobs."),
    _cluster("--account", metavar="NAME", help="Account or project of the jobs."),
    _cluster(
        "--cluster-options", "options", type=INPUT_FILE, metavar="FILE",
        help="JSON file with further options of dask-jobqueue: "
        '{"job_extra_directives": ["--gres=gpu:1"]}.',
    ),
    _cluster("--scheduler", metavar="tls://HOST:PORT",
             help="Use a Dask scheduler that is already running."),
)  # fmt: skip

RUN = combine_options(
    _run("-n", "--dry-run", is_flag=True, help="List the images, and do nothing else."),
    _run(
        "--already", type=click.Choice(("skip", "warn", "correct")), default="warn",
        show_default=True,
        help="Images that were corrected before, by the scanner or by n4ax, as their header or "
        "metadata say: leave them out, correct them with a note, or correct them.",
    ),
    _run(
        "--output-settings", type=click.Choice(("error", "replace", "exception")),
        default="error", show_default=True,
        help="If OUTPUT_DIR has images with other settings: refuse to mix them, give the folder "
        "these settings, or give settings of their own to the images of this run, which later "
        "runs leave alone.",
    ),
    _run(
        "--stop-on-first-crash", "stop_at_failure", is_flag=True,
        help="Stop at the first failure.",
    ),
    _run(
        "--skip-bids-validator", "--skip-bids-validation", is_flag=True, expose_value=False,
        help="Accepted because other BIDS Apps have it; the dataset is never validated.",
    ),
)  # fmt: skip
