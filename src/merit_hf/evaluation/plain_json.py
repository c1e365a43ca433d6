"""Typed results to plain JSON and back. Which results there are is in results.py."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T", bound="PlainJson")


class PlainJson:
    """Base of frozen dataclasses that are written as JSON objects: one key a field, in the order of the fields.

    A field that has a default is left out while it equals the default.
    """

    def as_plain(self) -> dict[str, Any]:
        """The object as dictionaries, lists, strings, numbers and None."""
        plain = {}
        for field in dataclasses.fields(typing.cast(Any, self)):
            value = getattr(self, field.name)
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            if default is dataclasses.MISSING or value != default:
                plain[field.name] = to_plain(value)
        return plain

    @classmethod
    def from_plain(cls: type[T], plain: Mapping[str, Any]) -> T:
        """The object of what `as_plain` returned, or of the same after JSON.

        Raises:
            ValueError: a field is missing, or a key is not a field.
        """
        hints = typing.get_type_hints(cls)
        if unknown := sorted(set(plain) - set(hints)):
            raise ValueError(f"{cls.__name__} has no fields {unknown}, expected some of {', '.join(hints)}")
        try:
            return cls(**{name: _typed(hints[name], value) for name, value in plain.items()})
        except TypeError as error:
            raise ValueError(f"not a {cls.__name__}: {error}") from error


def to_plain(value: Any) -> Any:
    """Plain JSON of a value that may hold `PlainJson` objects at any depth."""
    if isinstance(value, PlainJson):
        return value.as_plain()
    if isinstance(value, Mapping):
        return {key: to_plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(each) for each in value]
    return value


def _typed(hint: Any, value: Any) -> Any:
    """A plain value as the type that a field is annotated with."""
    if isinstance(hint, type) and issubclass(hint, PlainJson):
        return hint.from_plain(value)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (hint,) = (each for each in arguments if each is not types.NoneType)
        return _typed(hint, value)
    if origin is dict:
        return {key: _typed(arguments[1], each) for key, each in value.items()}
    if origin is tuple:
        return tuple(_typed(arguments[0], each) for each in value)
    return value
