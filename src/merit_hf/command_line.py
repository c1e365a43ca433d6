"""The command line of every command: a typed dataclass, an optional YAML file, and `--field value` overrides.

This file reads arguments, checks them, explains them and writes them back. Which arguments a command has is defined by
its dataclass. Nothing here knows about ECGs or imports anything heavy.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

from merit_hf.messages_merit import one_line

T = TypeVar("T")
# Allowed names, each with the names allowed below it; None allows anything. The items of a list are below "0".
Names = dict[str, Any]

# YAML 1.1 reads 1e-3, written without a point, as text.
_SCIENTIFIC = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")


class CommandLineText(str):
    """A word from the command line: still to be turned into a number, a list, a truth value or text by its field."""


def option(
    default: Any = dataclasses.MISSING,
    *,
    help: str,
    unit: str | None = None,
    otherwise: Any = None,
    keys: Iterable[str] | None = None,
    positional: str | None = None,
) -> Any:
    """A documented dataclass field.

    Args:
        default: value when neither file nor command line gives one; left out, the field is required. Lists and
            dictionaries are copied for every instance.
        help: one sentence for `--help`.
        unit: unit of the value, shown by `--help`.
        otherwise: the value that applies if the field is left out, where other code decides it: a value, or a
            dictionary of values by case. The default is then None, and `as_plain` leaves out a field that is None.
        keys: for dictionary fields, the keys that are allowed; None allows any.
        positional: for one list field of a command: it takes the words before the first `--field` and those after a
            bare `--`, and `--help` shows it by this name, such as "FILE...". Such a command reads no YAML file.
    """
    metadata = {
        "help": help,
        "unit": unit,
        "otherwise": otherwise,
        "keys": None if keys is None else tuple(keys),
        "positional": positional,
    }
    if otherwise is not None:
        default = None
    if isinstance(default, (list, dict)):
        copied = default
        return dataclasses.field(default_factory=lambda: type(copied)(copied), metadata=metadata)
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def parse_arguments(
    arguments_class: type[T], argv: Sequence[str] | None = None, description: str = "", name: str = ""
) -> T:
    """Reads `[FILE.yaml] [--field value ...]` or `WORD... [--field value ...]` into an instance of `arguments_class`.

    Nested fields are written with dots (`--model.mask_ratio 0.5`, `--stages.0.learning_rate 1e-3`), lists as several
    words or as one YAML list. `--help` prints every field with its unit and default, and ends the process.

    Raises:
        ValueError: unknown field (with the nearest known one), wrong type, missing required field, unreadable YAML.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if "--help" in words or "-h" in words:
        print(help_text(arguments_class, description, name))
        raise SystemExit(0)
    values: dict[str, Any] = {}
    source = "on the command line"
    positional = _positional_field(arguments_class)
    if positional is not None:
        words, given_words = _without_positional(words)
        if given_words:
            values[positional.name] = given_words
    elif words and not words[0].startswith("--"):
        source = words.pop(0)
        values = read_yaml(source)
        # The file is checked by itself first, so that a complaint about it names it.
        check_fields(arguments_class, values, f"in {source}")
    hints = typing.get_type_hints(arguments_class)
    given_paths = []
    for path, given in _overrides(words):
        # The last of several replaces the others, as in a script that adds to its command; a list would lose items.
        if path in given_paths and _may_be_list(hints.get(".".join(path))):
            raise ValueError(f"--{'.'.join(path)} is given twice: give it once, followed by all its values")
        given_paths.append(path)
        _put(values, path, given)
    check_fields(arguments_class, values, "on the command line")
    return build(arguments_class, values)


def run_command(
    main: Callable[[T], Any],
    arguments_class: type[T],
    description: str = "",
    argv: Sequence[str] | None = None,
    name: str = "",
) -> None:
    """Parses the command line and calls `main`; bad input ends the process with status 2 and one line.

    `name` is what starts the command, such as "merit classify", for `--help`.

    The environment variable MERIT_TRACEBACK=1 shows the whole traceback instead.
    """
    try:
        main(parse_arguments(arguments_class, argv, description, name))
    except BrokenPipeError:
        raise  # whoever read the output has read enough: no bad input
    except (ValueError, OSError) as error:
        if os.environ.get("MERIT_TRACEBACK") == "1":
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        raise SystemExit(2) from None


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping in a YAML file, or a packaged recipe. ValueError if it is missing, not YAML or not a mapping."""
    path = recipe_path(path)
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable as YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold `field: value` lines, not a {type(values).__name__}")
    return values


def recipe_path(name: str | os.PathLike[str]) -> Path:
    """The YAML file of a path, or of the recipe of that name in `merit_hf.recipes`. ValueError if there is neither."""
    if Path(name).is_file():
        return Path(name)
    folder = Path(str(resources.files("merit_hf.recipes")))
    packaged = sorted(path.stem for path in folder.glob("*.yaml"))
    if str(name).removesuffix(".yaml") in packaged:
        return folder / f"{str(name).removesuffix('.yaml')}.yaml"
    raise ValueError(
        f"{str(name)!r} is not a file: the first word must be a YAML file, a packaged recipe ({', '.join(packaged)}), "
        "or an option as --field value"
    )


def write_yaml(arguments: Any, path: str | os.PathLike[str]) -> None:
    """Writes a dataclass instance as a YAML file that `parse_arguments` reads back to an equal instance."""
    Path(path).write_text(yaml.safe_dump(as_plain(arguments), sort_keys=False, allow_unicode=True), encoding="utf-8")


def as_plain(value: Any) -> Any:
    """The value with dataclasses as dictionaries and tuples as lists, ready for YAML or JSON.

    A field with `otherwise` that was not given is left out.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: as_plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.metadata.get("otherwise") is None or getattr(value, field.name) is not None
        }
    if isinstance(value, Mapping):
        return {str(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(item) for item in value]
    return value


def build(arguments_class: type[T], values: Mapping[str, Any], path: str = "") -> T:
    """Makes the dataclass from plain values, converting each to its field's type.

    Raises:
        ValueError: a value of another type than its field's, one that the dataclass refuses, or a required field
            missing.
    """
    hints = typing.get_type_hints(arguments_class)
    converted = {}
    for field in dataclasses.fields(arguments_class):  # type: ignore[arg-type]
        name = f"{path}{field.name}"
        if field.name in values:
            converted[field.name] = _convert(values[field.name], hints[field.name], name)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            shown = field.metadata.get("positional") or f"--{name}"
            raise ValueError(f"{shown} is missing: {field.metadata.get('help', 'it is required')}")
    try:
        return arguments_class(**converted)
    except ValueError as error:
        raise ValueError(f"{path.removesuffix('.')}: {error}" if path else str(error)) from None


def check_fields(arguments_class: type, values: Mapping[str, Any], where: str) -> None:
    """Raises ValueError for the first name in `values` that is no field, with the nearest that is."""
    names = _names_of(arguments_class)
    _check(values, names, "", where, _paths(names))


def help_text(arguments_class: type, description: str = "", name: str = "") -> str:
    """What `--help` prints: one paragraph a field, with type, unit and default."""
    positional = _positional_field(arguments_class)
    if positional is None:
        usage = f"{name} [FILE.yaml] [--field value ...]{_nested_example(arguments_class)}"
    else:
        usage = f"{name} {positional.metadata['positional']} [--field value ...]"
    lines = [description.strip(), "", f"usage: {usage.strip()}", ""]
    lines += _help_lines(arguments_class, "--")
    return "\n".join(lines).strip()


def _nested_example(arguments_class: type) -> str:
    """How a nested field is written, by the example of the first one; nothing for a command without any."""
    hints = typing.get_type_hints(arguments_class)
    for field in dataclasses.fields(arguments_class):
        nested = _nested_dataclass(hints[field.name])
        if nested is not None and not _is_list(hints[field.name]):
            return f"   nested fields: --{field.name}.{dataclasses.fields(nested)[0].name} VALUE"
    return ""


def _help_lines(arguments_class: type, prefix: str) -> list[str]:
    hints = typing.get_type_hints(arguments_class)
    lines = []
    for field in dataclasses.fields(arguments_class):
        unit = field.metadata.get("unit")
        about = [_type_name(hints[field.name]), f"in {unit}" if unit else None, _default_text(field)]
        if field.metadata.get("otherwise") is not None:
            about[0] = str(about[0]).removesuffix(" | null")
        shown = field.metadata.get("positional") or f"{prefix}{field.name}"
        lines += [f"  {shown}  ({', '.join(filter(None, about))})"]
        lines += [f"      {field.metadata.get('help', '')}"]
        if (item := _nested_dataclass(hints[field.name])) is not None:
            counter = "N." if _is_list(hints[field.name]) else ""
            lines += ["  " + line for line in _help_lines(item, f"{prefix}{field.name}.{counter}")]
    return lines


def _default_text(field: dataclasses.Field[Any]) -> str | None:
    """The default in words; None for a dataclass, whose fields have defaults of their own."""
    otherwise = field.metadata.get("otherwise")
    if isinstance(otherwise, dict):
        cases: dict[str, list[str]] = {}
        for case, value in otherwise.items():
            cases.setdefault(_shown(value), []).append(case)
        if len(cases) > 1:
            return "default: " + ", ".join(f"{value} ({'/'.join(names)})" for value, names in cases.items())
        otherwise = next(iter(otherwise.values()))
    if otherwise is not None:
        return f"default: {_shown(otherwise)}"
    if field.default_factory is not dataclasses.MISSING:
        return f"default: {_shown(field.default_factory())}"
    if field.default is dataclasses.MISSING:
        return "required"
    return None if dataclasses.is_dataclass(field.default) else f"default: {_shown(field.default)}"


def _shown(value: Any) -> str:
    return yaml.safe_dump(as_plain(value), default_flow_style=True, width=10_000).removesuffix("...\n").strip()


def _type_name(hint: Any) -> str:
    options = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return " | ".join(str(choice) for choice in options)
    if typing.get_origin(hint) in (Union, types.UnionType):
        return " | ".join(_type_name(choice) for choice in options)
    if typing.get_origin(hint) in (list, tuple):
        return f"list of {_type_name(options[0])}"
    if typing.get_origin(hint) is dict or dataclasses.is_dataclass(hint):
        return "fields"
    return "null" if hint is type(None) else getattr(hint, "__name__", str(hint))


def _is_list(hint: Any) -> bool:
    return typing.get_origin(hint) is list


def _may_be_list(hint: Any) -> bool:
    return any(map(_is_list, (hint, *typing.get_args(hint))))


def _nested_dataclass(hint: Any) -> type | None:
    """The dataclass that a field holds, alone, in a list or as one of several types."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return hint
    return next(filter(None, map(_nested_dataclass, typing.get_args(hint))), None)


# --- names -----------------------------------------------------------------------------------------------------------


def _names_of(arguments_class: type) -> Names:
    hints = typing.get_type_hints(arguments_class)
    names: Names = {}
    for field in dataclasses.fields(arguments_class):
        keys = field.metadata.get("keys")
        names[field.name] = None if keys is None else dict.fromkeys(keys)
        if (nested := _nested_dataclass(hints[field.name])) is not None:
            inner = _names_of(nested)
            names[field.name] = {"0": inner} if _is_list(hints[field.name]) else inner
    return names


def _paths(names: Names, prefix: str = "") -> list[str]:
    paths = []
    for name, inner in names.items():
        paths += [prefix + name, *_paths(inner or {}, f"{prefix}{name}.")]
    return paths


def _check(values: Any, names: Names | None, path: str, where: str, known: list[str]) -> None:
    if names is None:
        return
    if isinstance(values, list) and set(names) == {"0"}:
        for position, item in enumerate(values):
            _check(item, names["0"], f"{path}{position}.", where, known)
    if not isinstance(values, Mapping):
        return  # a scalar where fields belong: `build` says so with the field's name
    for name, value in values.items():
        if name not in names:
            raise ValueError(f"unknown field {path + str(name)!r} {where}{_suggestion(str(name), path, names, known)}")
        _check(value, names[name], f"{path}{name}.", where, known)


def _suggestion(name: str, path: str, names: Names, known: list[str]) -> str:
    """The same name in another place first, then the nearest name here, then the nearest anywhere."""
    leaves = {other.rsplit(".", 1)[-1]: other for other in reversed(known)}
    if name in leaves:
        return f": did you mean {leaves[name]!r}?"
    if near := difflib.get_close_matches(name, list(names), n=1):
        return f": did you mean {path + near[0]!r}?"
    if near := difflib.get_close_matches(name, list(leaves), n=1):
        return f": did you mean {leaves[near[0]]!r}?"
    return f": the fields here are {', '.join(names)}"


# --- values ----------------------------------------------------------------------------------------------------------


def _positional_field(arguments_class: type) -> dataclasses.Field[Any] | None:
    fields = dataclasses.fields(arguments_class)
    return next((field for field in fields if field.metadata.get("positional")), None)


def _without_positional(words: list[str]) -> tuple[list[str], list[CommandLineText]]:
    """`a b --field c -- d` as (["--field", "c"], ["a", "b", "d"])."""
    end = words.index("--") if "--" in words else len(words)
    start = next((position for position, word in enumerate(words[:end]) if word.startswith("--")), end)
    given = [CommandLineText(word) for word in words[:start] + words[end + 1 :]]
    return words[start:end], given


def _overrides(words: list[str]) -> list[tuple[list[str], Any]]:
    """`--a.b 1 2 --flag` as [(["a", "b"], ["1", "2"]), (["flag"], "true")]."""
    found: list[tuple[list[str], Any]] = []
    position = 0
    while position < len(words):
        word = words[position]
        if not word.startswith("--") or word == "--":
            raise ValueError(f"unexpected {word!r} on the command line: options are written --field value")
        name, equals, attached = word[2:].partition("=")
        position += 1
        given = [attached] if equals else []
        while position < len(words) and not words[position].startswith("--"):
            given.append(words[position])
            position += 1
        texts = [CommandLineText(item) for item in given] or [CommandLineText("true")]
        # Dashes and underscores are both in use on command lines; field names have underscores only.
        found.append(([part.replace("-", "_") for part in name.split(".")], texts[0] if len(texts) == 1 else texts))
    return found


def _put(values: dict[str, Any], path: list[str], given: Any) -> None:
    """Sets one nested field; a position right after the end of a list adds an item."""
    place: Any = values
    for name, following in zip(path, [*path[1:], None], strict=True):
        if isinstance(place, list):
            if not name.isdigit() or int(name) > len(place):
                raise ValueError(f"--{'.'.join(path)}: {name!r} is not one of the {len(place)} items, counted from 0")
            if int(name) == len(place):
                place.append({})
        key: Any = int(name) if isinstance(place, list) else name
        if following is None:
            place[key] = given
            return
        inner = place[key] if isinstance(place, list) else place.get(key)
        if not isinstance(inner, (dict, list)):
            inner = place[key] = [] if following.isdigit() else {}
        place = inner


def _convert(value: Any, hint: Any, name: str) -> Any:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return _scalar(value)
    if origin in (Union, types.UnionType):
        return _convert_union(value, parts, name)
    if origin is Literal:
        for choice in parts:
            if value == choice or (isinstance(value, CommandLineText) and str(choice) == value):
                return choice
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(repr(choice) for choice in parts)}")
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            first = next(iter(dataclasses.fields(hint))).name
            raise ValueError(f"{name} is {value!r}, expected fields, e.g. --{name}.{first} VALUE")
        return build(hint, value, f"{name}.")
    if origin in (list, tuple):
        return _convert_sequence(value, hint, name)
    if origin is dict or hint is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} is {value!r}, expected fields, e.g. --{name}.FIELD VALUE")
        return {str(key): _convert(item, parts[1] if parts else Any, f"{name}.{key}") for key, item in value.items()}
    return _convert_simple(value, hint, name)


def _convert_union(value: Any, parts: tuple[Any, ...], name: str) -> Any:
    if type(None) in parts and (
        value is None or (isinstance(value, CommandLineText) and value.lower() in ("null", "none"))
    ):
        return None
    complaint: ValueError | None = None
    for part in parts:
        if part is type(None):
            continue
        try:
            return _convert(value, part, name)
        except ValueError as error:
            complaint = complaint or error
    raise complaint or ValueError(f"{name} is {value!r}, which none of its types allow")


def _convert_sequence(value: Any, hint: Any, name: str) -> Any:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(value, CommandLineText):
        read = _scalar(value)
        value = read if isinstance(read, list) else [value]
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{name} is {value!r}, expected a list")
    if origin is tuple and Ellipsis not in parts:
        if len(value) != len(parts):
            raise ValueError(f"{name} has {len(value)} values, expected {len(parts)}")
        return tuple(_convert(item, part, name) for item, part in zip(value, parts, strict=True))
    return origin(_convert(item, parts[0], f"{name}.{position}") for position, item in enumerate(value))


def _convert_simple(value: Any, hint: Any, name: str) -> Any:
    problem = ValueError(f"{name} is {value!r}, expected {_type_name(hint)}")
    if hint is bool:
        read = _scalar(value)
        if isinstance(read, bool):
            return read
        raise problem
    if hint in (int, float):
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise problem
        try:
            number = float(value)
            if hint is float:
                return number
            exact = int(value) if not isinstance(value, float) and str(value).lstrip("+-").isdigit() else int(number)
        except (ValueError, OverflowError):
            raise problem from None
        if exact != number:
            raise problem
        return exact
    if hint is str:
        if not isinstance(value, str):
            raise problem
        return str(value)
    raise TypeError(f"{name}: command lines have no rule for the type {hint!r}")


def _scalar(value: Any) -> Any:
    """Command line text read as YAML reads it, except that 1e-3 is a number, as everybody expects."""
    if isinstance(value, (list, tuple)):
        return [_scalar(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _scalar(item) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    try:
        read = yaml.safe_load(value) if isinstance(value, CommandLineText) else value
    except yaml.YAMLError:
        return str(value)
    if isinstance(read, str):
        return float(read) if _SCIENTIFIC.fullmatch(read) else str(read)
    return _scalar(read) if isinstance(read, list) else read
