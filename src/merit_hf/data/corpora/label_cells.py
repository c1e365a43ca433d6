"""Cells of a table: which of them are empty, and which labels a cell names.

Which columns of a table hold labels is decided in `table.py`.
"""

from __future__ import annotations

import ast
import io
import json
import math
import numbers
import re
import tokenize
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from merit_hf.data.reports import stated_text

EVERY_KEY = -math.inf  # the threshold by which every key of a dict is a label
_TWO_TEXTS = re.compile(r"""['"]\s*['"]""")
# What Python and NumPy print around a list or dict.
_WRAPPERS = ("array", "set", "frozenset", "list", "tuple", "dict", "OrderedDict", "Counter", "dict_keys")
_SCALARS = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "bool_", "bool", "str_")
_WRAPPED = re.compile(rf"(np\.|numpy\.)?({'|'.join((*_WRAPPERS, 'defaultdict'))})\(")
_NAMES = {"nan": None, "null": None, "true": True, "false": False}  # in cells that JSON or pandas wrote
_FLAGS = {"0": False, "false": False, "no": False, "1": True, "true": True, "yes": True}


def cell_content(value: Any) -> Any:
    """Content of a cell as pandas hands it out: text, a list, a dict, or None where the cell is empty.

    A cell is empty if it is null, NaN, blank or nothing but a word such as `NA`, `N/A`, `null` or `None`
    (`MISSING_WORDS`). Maps of Parquet, which arrive as lists of pairs, become dicts.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return _dict_of_pairs(value) if _is_pairs(value) else list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8")
    if _is_missing(value):
        return None
    # Whole numbers that were stored with decimals, as names of patients often are.
    return stated_text(re.sub(r"^(\d+)\.0$", r"\1", str(value).strip()))


def labels_of_cell(content: Any, threshold: float | None = None) -> list[str]:
    """Labels that a cell names.

    Args:
        content: what `cell_content` made of the cell: text with labels separated by semicolons, a list of labels, or a
            dict of labels; lists and dicts may be text, in the syntax of JSON or Python. In a dict, the
            values 1 and true mean that the record has the label, 0, false and null that it does not.
        threshold: by which number in a dict, or a greater one, the record has the label; `EVERY_KEY` takes every key
            whose value is not null, whatever it is. None allows flags alone, since a likelihood says nothing without a
            threshold.

    Returns:
        The labels, each once and in alphabetical order, without words for "missing".

    Raises:
        ValueError: the cell is none of this.
    """
    if isinstance(content, str) and (content[0] in "{[(" or _WRAPPED.match(content)):
        content = _literal(content)
    if isinstance(content, Mapping):
        labels = [str(label) for label, value in content.items() if _has_label(str(label), value, threshold)]
    elif isinstance(content, (list, tuple, set)):
        labels = _list_items(content)
    else:
        labels = (content or "").split(";")
    return sorted({text for label in labels if (text := stated_text(label)) is not None})


def _has_label(label: str, value: Any, threshold: float | None) -> bool:
    if _is_missing(value):
        return False
    if threshold == EVERY_KEY:
        return True
    if isinstance(value, str):
        value = _FLAGS.get(value.strip().lower(), value)
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    number = float(value) if isinstance(value, numbers.Real) else math.nan
    if threshold is not None and math.isfinite(number):
        return number >= threshold
    if number not in (0, 1):
        raise ValueError(
            f"a dict in which {label!r} is {value!r}, expected 0 or 1 (false or true); if these are likelihoods, give "
            "label_threshold, from which on a record has the label"
        )
    return number == 1


def _list_items(content: Collection[Any]) -> list[str]:
    items = [item for item in content if not _is_missing(item)]
    if any(isinstance(item, (bool, np.bool_)) for item in items) or (
        len(items) > 1 and all(isinstance(item, numbers.Real) and item in (0, 1) for item in items)
    ):
        raise ValueError(
            f"{list(content)!r:.80}, a list of flags that does not say which labels they stand for; expected a dict "
            "such as {'NORM': 1, 'AF': 0}, or the names of the labels"
        )
    if bad := next((item for item in items if not isinstance(item, (str, numbers.Real))), None):
        raise ValueError(f"a list with {bad!r:.80} in it, expected names of labels such as ['NORM', 'SR']")
    return [str(item) for item in items]


def _literal(text: str) -> Any:
    """List or dict that is written as text; text in parentheses that is no list stays as it is."""
    value: Any = None
    for read in (_json, _python_literal):
        try:
            value = read(text)
            break
        # MemoryError and RecursionError come from absurd nesting.
        except (ValueError, SyntaxError, TypeError, tokenize.TokenError, MemoryError, RecursionError):
            continue
    if isinstance(value, (list, tuple)) and _is_pairs(value):
        return _dict_of_pairs(value)
    if isinstance(value, (dict, list, tuple, set)):
        return value
    if text.startswith("("):
        return text
    raise ValueError(f"{text!r:.120}, which is no list or dict of labels such as {{'NORM': 1}} or ['NORM', 'SR']")


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_dict_of_pairs)


def _python_literal(text: str) -> Any:
    if _TWO_TEXTS.search(text):  # perhaps; NumPy prints arrays so, and Python would read both as one
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        kinds = [token.type for token in tokens if token.type != tokenize.NL]
        if (tokenize.STRING, tokenize.STRING) in pairwise(kinds):
            raise ValueError("no comma between two texts")
    return ast.literal_eval(_NamedValues().visit(ast.parse(text, mode="eval")))


class _NamedValues(ast.NodeTransformer):
    """Gives `nan`, `null`, `true` and `false` in a Python literal their values, and unwraps `array([...])`."""

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        keys = [ast.dump(key) for key in node.keys if key is not None]
        if len(set(keys)) < len(keys):
            raise ValueError("one label twice")
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called not in (*_WRAPPERS, *_SCALARS) or len(node.args) > 1:
            raise ValueError(f"a call of {called}")
        return self.visit(node.args[0]) if node.args else ast.List([], ast.Load())

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(_NAMES[node.id.lower()]) if node.id.lower() in _NAMES else node


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return stated_text(value) is None
    return value is None or type(value).__name__ == "NAType" or value != value  # NA of pandas, NaN and NaT


def _is_pairs(items: Sequence[Any]) -> bool:
    """Whether a list is a map written as pairs of a label and its value."""
    return bool(items) and all(
        isinstance(item, (list, tuple))
        and len(item) == 2
        and isinstance(item[0], str)
        and not isinstance(item[1], str)
        for item in items
    )


def _dict_of_pairs(pairs: Sequence[Any]) -> dict[str, Any]:
    found: dict[str, Any] = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"{list(pairs)!r:.80}, which names one label twice")
    return found
