"""What must be true after a fault, and after the next run."""

import errno
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from reliability.faults.cases import Case
from reliability.faults.plan import Fault
from reliability.faults.server import HANGS
from reliability.faults.workshop import Ran, find_differences, is_temporary

Tree = Mapping[str, bytes]

_SURVIVED = ("open", "create", "read", "write", "sync", "lock")
"""Kinds of calls that are made again after an interrupt, and after half of the work."""
_RECORD = re.compile(
    r"out/(logs/|n4ax_errors\.json|n4ax_study\.json|\.n4ax/|n4ax\.(json|tsv)$|.*\.html$|group_)"
)
"""Files that tell of failures too, so that they need not be those of a good run."""
_PRIVATE = re.compile(r"out/\.n4ax/")
_ENDS = {".html": b"</html>", ".tsv": b"\n", ".md": b"\n", ".log": b"\n"}
_LOG_LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d .+")


class Trees(NamedTuple):
    """The files before the fault, after it, after the next run, and after a good run."""

    before: Tree
    after: Tree
    final: Tree
    good: Tree


def count_files(trees: Trees) -> Counter[str]:
    """How many of the outputs that a good run changes were old, absent or new after the fault."""
    counts = Counter[str]()
    for name in _list_outputs(trees):
        content = trees.after.get(name)
        if trees.before.get(name) == trees.good.get(name):
            continue
        if content is None:
            counts["absent"] += 1
        else:
            counts["new" if content == trees.good.get(name) else "old"] += 1
    return counts


def find_losses(case: Case, fault: Fault, ran: Ran, again: Ran, trees: Trees) -> list[str]:
    """What is wrong; nothing if all is well."""
    found = [*_check_files(fault, trees), *_check_records(trees.after), *_check_inputs(trees)]
    if fault.error != "KILL" and not fault.lasts:
        found += [*_check_groups(case, trees), *_check_leftovers(ran, trees)]
    found += _check_status(fault, ran, trees)
    found += _check_again(again, trees)
    return found


def _list_outputs(trees: Trees) -> list[str]:
    """The files that are either the old ones or those of a good run."""
    names = {*trees.before, *trees.good}
    return sorted(
        name for name in names
        if name.startswith("out/") and not _RECORD.match(name) and not is_temporary(name)
    )  # fmt: skip


def _check_files(fault: Fault, trees: Trees) -> Iterator[str]:
    for name in _list_outputs(trees):
        old, new, content = trees.before.get(name), trees.good.get(name), trees.after.get(name)
        # The sidecar of a study says that an image is complete, so it goes first and comes last.
        may_go = fault.error == "KILL" or fault.lasts
        if content is None and old is not None and not (may_go and name.endswith("_T1w.json")):
            yield f"{name} is gone"
        elif content is not None and content not in (old, new):
            yield f"{name} is neither the old file nor the new one"


def _check_records(tree: Tree) -> Iterator[str]:
    for name, content in tree.items():
        if not name.startswith("out/") or is_temporary(name) or "/unfinished/" in name:
            continue
        suffix = Path(name).suffix
        if suffix == ".json" and not _is_json(content):
            yield f"{name} is no JSON"
        if not content.endswith(_ENDS.get(suffix, b"")):
            yield f"{name} has no end"
        if suffix == ".log" and not all(map(_LOG_LINE.fullmatch, content.splitlines())):
            yield f"{name} has half a line"


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def _check_inputs(trees: Trees) -> Iterator[str]:
    for tree in (trees.after, trees.final):
        for name in find_differences(trees.before, tree):
            if name.startswith("in/"):
                yield f"the input {name} was changed"


def _check_groups(case: Case, trees: Trees) -> Iterator[str]:
    for start in case.groups:
        names = [
            name for name in _list_outputs(trees)
            if name.startswith(f"out/{start}") and trees.before.get(name) != trees.good.get(name)
        ]  # fmt: skip
        states = {trees.after.get(name) == trees.good.get(name) for name in names}
        if len(states) > 1:
            yield f"some files of {start or 'the image'} are old and some are new"


def _check_leftovers(ran: Ran, trees: Trees) -> Iterator[str]:
    may_stay = ran.hit is not None and ran.hit.kind == "unlink"
    for name in trees.after:
        if name in trees.before or name in trees.good or (may_stay and is_temporary(name)):
            continue
        if not _RECORD.match(name) or "/unfinished/" in name:
            yield f"{name if not is_temporary(name) else 'a temporary file'} was left"


def _check_status(fault: Fault, ran: Ran, trees: Trees) -> Iterator[str]:
    if ran.status == HANGS:
        yield "it hangs"
    elif fault.error == "KILL":
        if ran.status != -9:
            yield f"status {ran.status} after a kill"
    elif ran.status == 0:
        names = [name for name in _list_outputs(trees)
                 if trees.after.get(name) != trees.good.get(name)]  # fmt: skip
        if names:
            yield f"status 0, but {names[0]} is not written"
    else:
        yield from _check_message(fault, ran, trees)
        if fault.error in ("EINTR", "SHORT") and ran.hit and ran.hit.kind in _SURVIVED:
            yield f"{fault.error} in {ran.hit.kind} was not survived"


def _check_message(fault: Fault, ran: Ran, trees: Trees) -> Iterator[str]:
    if ran.status not in (1, 2) or "Traceback" in ran.said:
        yield f"status {ran.status} and a traceback"
        return
    told = [line for line in ran.said.splitlines() if re.search(r"error:|failed|could not", line)]
    if not told:
        yield "no message"
    elif not fault.lasts and re.search(r"\.n4ax-[0-9a-f]{8}|/unfinished/", ran.said):
        yield "the message names a temporary file"
    elif ran.hit and not any(name in "\n".join(told) for name in _find_names(fault, ran, trees)):
        yield "the message does not name the file"
    elif re.search("was not written whole|ITK did not write it", ran.said):
        return  # ITK does not say why
    elif ran.hit and ran.hit.kind == "access":
        return  # click says that the file is not readable
    elif hasattr(errno, fault.error) and os.strerror(getattr(errno, fault.error)) not in ran.said:
        yield "the message does not say the reason"


def _find_names(fault: Fault, ran: Ran, trees: Trees) -> set[str]:
    """What the message may name: the file of the call, what it is to become, or its folder."""
    assert ran.hit is not None
    names: set[str] = set()
    if fault.lasts or fault.space >= 0:  # it may name any of the files that cannot be used now
        names |= {"in/", "out/", "in:", "out:", "'in'", "'out'"}
    for path in ran.hit.paths:
        name = path.split("/box/")[-1]
        if is_temporary(name) or "/unfinished/" in name:
            outputs = [one for one in {*trees.before, *trees.good} if one.startswith("out/")]
            names |= {Path(one).name for one in outputs} | {Path(name).name}
        elif name in ("in", "out"):
            names |= {f"{name}:", f"{name}/", f"{name} ", f"{name}'"}
        else:
            names.add(Path(name).name)
            parent = Path(name).parent.name
            names |= {f"{parent}:"}
    return names


def _check_again(again: Ran, trees: Trees) -> Iterator[str]:
    if again.status != 0:
        yield f"the next run has status {again.status}: {again.said.strip()[-200:]}"
        return
    for name in find_differences(trees.final, trees.good):
        if not is_temporary(name) and not name.endswith(".log"):
            yield f"after the next run {name} is not that of a good run"
    for name in trees.final:
        if "/unfinished/" in name:
            yield f"after the next run {name} is left"
