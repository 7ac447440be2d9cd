"""The faults to try: each is one small change of a syntax tree, like a programmer's slip.

Parts that need no test are left alone: annotations, decorators, docstrings, sentences that people read, and logs.
"""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.Mod: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift,
}  # fmt: skip
CALLED = {
    "min": "max", "max": "min", "any": "all", "all": "any", "startswith": "endswith", "endswith": "startswith",
    "lower": "upper", "upper": "lower", "lstrip": "rstrip", "rstrip": "lstrip", "add": "discard",
}  # fmt: skip
TYPES = frozenset({"Annotated", "Literal", "Callable", "cast", "TypeVar"})
DROPPED = "(nothing)"


@dataclass(frozen=True)
class Mutant:
    """One fault. `where`: the function or class that contains it; `source`: the whole file with it."""

    line: int
    where: str
    before: str
    after: str
    source: str

    @property
    def change(self) -> str:
        return f"{self.before} -> {self.after}"


@dataclass(frozen=True)
class Change:
    """Another value for a field of a node, or for an entry of a list of nodes."""

    owner: Any
    key: str | int
    value: Any
    line: int
    where: str
    before: str
    after: str

    def mutant(self, tree: ast.Module) -> Mutant:
        was = self._put(self.value)
        try:
            return Mutant(self.line, self.where, self.before, self.after, written(tree))
        finally:
            self._put(was)

    def _put(self, value: Any) -> Any:
        if isinstance(self.key, int):
            was, self.owner[self.key] = self.owner[self.key], value
        else:
            was = getattr(self.owner, self.key)
            setattr(self.owner, self.key, value)
        return was


def written(tree: ast.Module) -> str:
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def sample(source: str, count: int, seed: str) -> list[Mutant]:
    """Return up to `count` faults of this file, chosen by the seed, in the order of its lines."""
    tree = ast.parse(source)
    found = list(Changes().of(tree))
    chosen = random.Random(seed).sample(range(len(found)), min(count, len(found)))
    return [found[number].mutant(tree) for number in sorted(chosen)]


class Changes:
    """Walks a tree and offers every change of it."""

    def __init__(self) -> None:
        self.scope: list[str] = []

    def of(self, tree: ast.Module) -> Iterator[Change]:
        yield from self._block(tree.body)

    # --- statements --------------------------------------------------------------------------------------------------

    def _block(self, body: list[ast.stmt]) -> Iterator[Change]:
        for place, statement in enumerate(body):
            if is_docstring(statement) or is_log(statement) or is_import(statement):
                continue
            instead = without(statement)
            if instead is not None:
                yield self._change(body, place, instead, statement, short(statement), short(instead))
            yield from self._statement(statement)

    def _statement(self, statement: ast.stmt) -> Iterator[Change]:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from self._definition(statement)
            return
        if isinstance(statement, ast.If | ast.While) and worth_negating(statement.test):
            yield self._replaced(statement, "test", ast.UnaryOp(ast.Not(), statement.test))
        if isinstance(statement, ast.Return) and worth_none(statement.value):
            yield self._replaced(statement, "value", ast.Constant(None))
        for name, value in ast.iter_fields(statement):
            if name == "annotation":
                continue
            yield from self._field(statement, name, value)

    def _definition(self, definition: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Iterator[Change]:
        self.scope.append(definition.name)
        if not isinstance(definition, ast.ClassDef):
            yield from self._list(definition.args.defaults)
            yield from self._list(definition.args.kw_defaults)
        yield from self._block(definition.body)
        self.scope.pop()

    def _field(self, owner: ast.AST, name: str, value: Any) -> Iterator[Change]:
        if isinstance(value, ast.expr):
            yield from self._expression(owner, name, value)
        elif isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            yield from self._block(value)
        elif isinstance(value, list):
            yield from self._list(value)
        elif isinstance(value, ast.AST):
            for inner, held in ast.iter_fields(value):
                yield from self._field(value, inner, held)

    def _list(self, values: list[Any]) -> Iterator[Change]:
        for place, value in enumerate(values):
            if isinstance(value, ast.expr):
                yield from self._expression(values, place, value)
            elif isinstance(value, ast.AST):
                for name, held in ast.iter_fields(value):
                    yield from self._field(value, name, held)

    # --- expressions -------------------------------------------------------------------------------------------------

    def _expression(self, owner: Any, key: str | int, node: ast.expr) -> Iterator[Change]:
        if is_type(node, at_top=not self.scope):
            return
        for new in others(node):
            yield self._change(owner, key, new, node, short(node), short(new))
        yield from self._left_out(owner, key, node)
        if isinstance(node, ast.IfExp) and worth_negating(node.test):
            yield self._replaced(node, "test", ast.UnaryOp(ast.Not(), node.test))
        for name, value in ast.iter_fields(node):
            yield from self._field(node, name, value)

    def _left_out(self, owner: Any, key: str | int, node: ast.expr) -> Iterator[Change]:
        """Leave out an element of a table, a condition of a comprehension, a named argument or an operand."""
        for name in {ast.Call: ("keywords",), ast.BoolOp: ("values",)}.get(type(node), ("elts", "keys")):
            parts = getattr(node, name, None) or []
            if isinstance(getattr(node, "ctx", None), ast.Store) or (len(parts) < 2 and name != "keywords"):
                continue
            for place, part in enumerate(parts):
                if part is not None and not isinstance(part, ast.Starred) and getattr(part, "arg", "") is not None:
                    yield self._change(owner, key, left_out(node, name, place), node, short(part), DROPPED)
        for generator in getattr(node, "generators", []):
            for place, condition in enumerate(generator.ifs):
                rest = generator.ifs[:place] + generator.ifs[place + 1 :]
                yield self._change(generator, "ifs", rest, condition, f"if {short(condition)}", DROPPED)

    # --- descriptions ------------------------------------------------------------------------------------------------

    def _replaced(self, owner: ast.AST, key: str, new: ast.expr) -> Change:
        old = getattr(owner, key)
        return self._change(owner, key, new, old, short(old), short(new))

    def _change(self, owner: Any, key: str | int, value: Any, node: Any, before: str, after: str) -> Change:
        return Change(owner, key, value, node.lineno, ".".join(self.scope) or "(module)", before, after)


def others(node: ast.expr) -> Iterator[ast.expr]:
    """Expressions that could replace this one by mistake."""
    match node:
        case ast.Compare(ops=[*ops]):
            for place, op in enumerate(ops):
                yield with_(node, ops=[*ops[:place], COMPARED[type(op)](), *ops[place + 1 :]])
        case ast.BoolOp():
            yield with_(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.BinOp() if type(node.op) in COMPUTED and not is_text(node.left) and not is_text(node.right):
            yield with_(node, op=COMPUTED[type(node.op)]())
        case ast.Constant(value=value):
            yield from (ast.Constant(other) for other in other_constants(value))
        case ast.Call(func=ast.Name(id=name)) if name in CALLED:
            yield with_(node, func=ast.Name(CALLED[name], ast.Load()))
        case ast.Call(func=ast.Attribute(attr=name)) if name in CALLED:
            yield with_(node, func=with_(node.func, attr=CALLED[name]))
        case ast.Tuple(elts=[first, second], ctx=ast.Load()):
            yield with_(node, elts=[second, first])


def other_constants(value: object) -> list[bool | int | float | str]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value - 1] if value > 0 else [value + 1]
    if isinstance(value, str) and " " not in value:  # otherwise it is a sentence
        return [f"{value}x"] if value else []
    return []


def without(statement: ast.stmt) -> ast.stmt | None:
    """What remains if the statement is forgotten; None if everything would break at once."""
    match statement:
        case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Delete() | ast.Return(value=None) | ast.Continue():
            return ast.Pass()
        case ast.Break():
            return ast.Continue()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            return ast.Pass()
    return None


def left_out(node: ast.expr, name: str, place: int) -> ast.expr:
    def rest(values: list[Any]) -> list[Any]:
        return values[:place] + values[place + 1 :]

    if isinstance(node, ast.Dict):
        return ast.Dict(rest(node.keys), rest(node.values))
    new: ast.expr = with_(node, **{name: rest(getattr(node, name))})
    if isinstance(new, ast.BoolOp) and len(new.values) == 1:
        return new.values[0]
    return new


def with_(node: ast.AST, **fields: Any) -> Any:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


# --- what is left alone ----------------------------------------------------------------------------------------------


def is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def is_import(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Import | ast.ImportFrom)


def is_log(statement: ast.stmt) -> bool:
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func).startswith("log.")


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def is_type(node: ast.expr, *, at_top: bool) -> bool:
    """Whether it is `Literal["a", "b"]`, `cast(...)` or, outside every function, `dict[str, int]` or `A | B`."""
    name = node.value if isinstance(node, ast.Subscript) else getattr(node, "func", None)
    if isinstance(name, ast.Name) and name.id in TYPES:
        return True
    if not at_top:
        return False
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return isinstance(node.left, ast.Name | ast.Subscript | ast.BinOp | ast.Constant)
    return isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in TYPE_NAMES


TYPE_NAMES = frozenset({"dict", "list", "tuple", "set", "frozenset", "type", "Mapping", "Sequence", "Iterable"})


def worth_negating(test: ast.expr) -> bool:
    """Whether to negate this: other changes already negate `a == b` and `not a`."""
    return not (isinstance(test, ast.UnaryOp) or (isinstance(test, ast.Compare) and len(test.ops) == 1))


def worth_none(value: ast.expr | None) -> bool:
    return value is not None and not (isinstance(value, ast.Constant) and value.value is None)


def short(node: ast.AST, longest: int = 100) -> str:
    """The first line of its source, or as much as fits."""
    told = ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).splitlines()
    line = told[0] if told else ""
    return line if len(line) <= longest and len(told) == 1 else f"{line[:longest]}…"
