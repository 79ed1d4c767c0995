"""Which mutants are left out because of their form, and why."""

from collections.abc import Iterator, Mapping

import libcst as cst

Parents = Mapping[cst.CSTNode, cst.CSTNode]

ANNOTATION = "annotations: nothing reads them when the program runs"
DECORATOR = "decorators: options of the compiler, and of classes that hold values"
MESSAGE = "texts of errors, warnings and log lines: their wording is not behaviour"
SENTENCE = "texts of four words or more: they are for people, and their wording is not behaviour"
TYPES = "names of types, `__all__` and blocks for type checkers"
CASE = "other cases of a text: what notices a changed text is tried by `XX`"
ENCODING = "`utf-8`, `ascii` and the like: Python reads their names in any case"
CRASH = (
    "`None` for a value, and calls without one of their first arguments: these fail at once "
    "wherever the line is run, so they say no more than coverage does"
)
TUPLES = "`strict=` of zip: it raises, and never changes a result"
PROMISES = "`stacklevel=` and `from error`: they say where a message comes from"


_TALK = {"warn", "warning", "info", "debug", "error", "exception"}
_KEYWORDS = {"strict": TUPLES, "stacklevel": PROMISES, "encoding": ENCODING}
_TYPE_MAKERS = {"TypedDict", "TypeVar", "ParamSpec", "NewType", "TypeAlias"}


def find_reason_to_skip(node: cst.CSTNode, changed: cst.CSTNode, parents: Parents) -> str | None:
    """Say why a mutant is left out; ``None`` if it is tried."""
    if isinstance(changed, cst.SimpleString) and _is_other_case(node, changed):
        return CASE
    if isinstance(node, cst.SimpleString) and len(node.value.split()) > 3:
        return SENTENCE
    gone = _find_removed(node, changed)
    if gone is not None and gone.keyword is not None and gone.keyword.value in _KEYWORDS:
        return _KEYWORDS[gone.keyword.value]
    if _fails_at_once(node, changed, gone):
        return CRASH
    inner = node
    for outer in _climb(node, parents):
        reason = _judge(inner, outer, node)
        if reason is not None:
            return reason
        inner = outer
    return None


def _is_other_case(node: cst.CSTNode, changed: cst.SimpleString) -> bool:
    return isinstance(node, cst.SimpleString) and "XX" not in changed.value


def _find_removed(node: cst.CSTNode, changed: cst.CSTNode) -> cst.Arg | None:
    """Find the argument that a mutant has taken out of a call."""
    if not (isinstance(node, cst.Call) and isinstance(changed, cst.Call)):
        return None
    left = {id(arg) for arg in changed.args}
    gone = [arg for arg in node.args if id(arg) not in left]
    return gone[0] if len(changed.args) < len(node.args) else None


def _fails_at_once(node: cst.CSTNode, changed: cst.CSTNode, gone: cst.Arg | None) -> bool:
    if isinstance(node, cst.Assign | cst.AnnAssign) and isinstance(changed, type(node)):
        return _is_named(changed.value, "None")
    if gone is not None and isinstance(node, cst.Call):
        return gone.keyword is None and gone is not node.args[-1]
    if isinstance(node, cst.Call) and isinstance(changed, cst.Call):
        pairs = zip(node.args, changed.args, strict=True)
        return any(new is not old and _is_named(new.value, "None") for old, new in pairs)
    return False


def _climb(node: cst.CSTNode, parents: Parents) -> Iterator[cst.CSTNode]:
    while node in parents:
        node = parents[node]
        yield node


def _judge(inner: cst.CSTNode, outer: cst.CSTNode, node: cst.CSTNode) -> str | None:
    """Say why nothing inside ``inner``, which is a part of ``outer``, is changed."""
    match outer:
        case cst.Annotation():
            return ANNOTATION
        case cst.Decorator():
            return DECORATOR
        case cst.Raise() if isinstance(node, cst.BaseString):
            return MESSAGE
        case cst.Raise(cause=cause) if inner is cause:
            return PROMISES
        case cst.Call(func=cst.Attribute(attr=cst.Name(value=name))) if name in _TALK:
            return MESSAGE
        case cst.Arg(keyword=cst.Name(value=name)) if name in _KEYWORDS:
            return _KEYWORDS[name]
        case cst.Assign() | cst.AnnAssign():
            return TYPES if _names_types(outer) else None
        case cst.If(test=cst.Name(value="TYPE_CHECKING")):
            return TYPES
        case cst.ClassDef(bases=bases) if any(_is_named(b.value, "Protocol") for b in bases):
            return TYPES
    return None


def _names_types(statement: cst.Assign | cst.AnnAssign) -> bool:
    """Whether a statement gives a name to a type, or lists what a module offers."""
    target = statement.targets[0].target if isinstance(statement, cst.Assign) else statement.target
    value = statement.value
    if _is_named(target, "__all__"):
        return True
    if isinstance(value, cst.Call):
        return any(_is_named(value.func, name) for name in _TYPE_MAKERS)
    if isinstance(value, cst.Subscript):
        root = value.value
        return any(
            _is_named(root, name) for name in ("Literal", "Callable", "NDArray", "Union", "Mapping")
        )
    return _is_named(value, "Any")


def _is_named(node: cst.CSTNode | None, name: str) -> bool:
    match node:
        case cst.Name(value=value):
            return value == name
        case cst.Attribute(attr=cst.Name(value=value)):
            return value == name
        case cst.Subscript(value=root):
            return _is_named(root, name)
    return False
