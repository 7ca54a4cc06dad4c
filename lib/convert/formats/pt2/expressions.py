"""Checks size expressions of an exported program: torch passes them to sympy, which evaluates them as Python.

An allow-list on Python's own syntax tree: an unknown construct is refused, and nothing is evaluated.
"""

from __future__ import annotations

import ast
import re

from lib.errors import InvalidFile
from lib.words import words

LONGEST, DEEPEST, MAX_ARGUMENTS = 2000, 30, 64
FUNCTIONS = frozenset(
    words("""
    Symbol Integer Float Rational Add Mul Pow Max Min Mod PythonMod FloorDiv CleanDiv CeilDiv FloorToInt CeilToInt
    TruncToInt RoundToInt ToFloat IntTrueDiv FloatTrueDiv FloatPow PowByNatural ModularIndexing Identity
    OpaqueUnaryFn_sqrt Eq Ne Lt Le Gt Ge StrictLessThan LessThan StrictGreaterThan GreaterThan Equality Unequality And Or
    Not Piecewise ExprCondPair floor ceiling
""")
)
CONSTANTS = frozenset(words("true false int_oo oo"))
KEYWORDS = {"evaluate": bool, "precision": int}  # keyword of a function -> type of its value
ASSUMPTIONS = frozenset(words("positive integer nonnegative real zero nonzero"))  # keywords of Symbol, all True
SYMBOL = re.compile(r"[a-z_]{1,8}[0-9]{1,9}")
ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.BitAnd, ast.BitOr)
SIGNS = (ast.USub, ast.UAdd, ast.Invert, ast.Not)
COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)


def check_expression(text: object) -> None:
    """Raises InvalidFile unless ``text`` is arithmetic on symbols and numbers with allowed functions."""
    fault = InvalidFile(
        f"A shape in the exported program is {str(text)[:80]!r}, which is more than symbols and numbers. The loader would "
        "run such text as code, so the program was not opened."
    )
    if not isinstance(text, str) or len(text) > LONGEST:
        raise fault
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        allowed = _plain(tree, DEEPEST)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise fault from None
    if not allowed:
        raise fault


def _plain(node: ast.AST, levels: int) -> bool:
    """Returns whether the syntax tree is allowed and at most ``levels`` deep."""
    if levels == 0:
        return False

    def inner(*some: ast.AST) -> bool:
        return all(_plain(child, levels - 1) for child in some)

    match node:
        case ast.Constant(value=value):
            return type(value) in (int, float, bool) and abs(value) < 1 << 63
        case ast.Name(id=name):
            return name in CONSTANTS or bool(SYMBOL.fullmatch(name))
        case ast.BinOp(left=left, op=op, right=right):
            return isinstance(op, ARITHMETIC) and inner(left, right)
        case ast.UnaryOp(op=op, operand=operand):
            return isinstance(op, SIGNS) and inner(operand)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            return all(isinstance(op, COMPARISONS) for op in ops) and inner(left, *comparators)
        case ast.Tuple(elts=some):  # (value, condition) of a Piecewise
            return len(some) == 2 and inner(*some)
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(name))], keywords=keywords):
            true = all(
                k.arg in ASSUMPTIONS and isinstance(k.value, ast.Constant) and k.value.value is True for k in keywords
            )
            return true and bool(SYMBOL.fullmatch(name))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            known = name in FUNCTIONS - {"Symbol"} and len(args) < MAX_ARGUMENTS
            return known and all(map(_keyword, keywords)) and inner(*args)
    return False


def _keyword(said: ast.keyword) -> bool:
    """Returns whether a keyword argument is allowed."""
    value_type = KEYWORDS.get(said.arg or "")
    return value_type is not None and isinstance(said.value, ast.Constant) and type(said.value.value) is value_type
