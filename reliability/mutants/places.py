"""Where in a source a mutant lies: its function, and the lines of its statement."""

import ast
from typing import NamedTuple

_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Place(NamedTuple):
    """A place in a source.

    Attributes
    ----------
    function
        The outermost function around it, by its qualified name; ``None`` for what runs when the
        module is imported.
    lines
        The lines of the statement, without those of the statements inside it.
    """

    function: str | None
    lines: range


def find_place(tree: ast.Module, line: int) -> Place:
    """Find the statement that has a line, and the outermost function around it."""
    names: list[str] = []
    function = None
    statement: ast.stmt | None = None
    inside: list[ast.stmt] = tree.body
    while (found := _find_in(inside, line)) is not None:
        statement = found
        if function is None and isinstance(found, ast.ClassDef | _Function):
            names.append(found.name)
            if isinstance(found, _Function) and line >= found.body[0].lineno:
                function = ".".join(names)
        inside = _list_inside(found)
    if statement is None:
        return Place(None, range(line, line + 1))
    below = [s.lineno for s in _list_inside(statement)]
    stop = min(below) if below else (statement.end_lineno or line) + 1
    return Place(function, range(statement.lineno, max(stop, line + 1)))


def _find_in(statements: list[ast.stmt], line: int) -> ast.stmt | None:
    for statement in statements:
        decorators = getattr(statement, "decorator_list", [])
        first = min([statement.lineno, *(d.lineno for d in decorators)])
        if first <= line <= (statement.end_lineno or first):
            return statement
    return None


def _list_inside(statement: ast.stmt) -> list[ast.stmt]:
    lists = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
    lists += [handler.body for handler in getattr(statement, "handlers", [])]
    lists += [case.body for case in getattr(statement, "cases", [])]
    return [inner for one in lists for inner in one]
