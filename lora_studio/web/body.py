"""Request bodies: JSON objects checked against a dataclass, every mistake named at once."""

from __future__ import annotations

import dataclasses
import types
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from fastapi import Request

from ..errors import UserError
from ..reading import parse_json

LARGEST = 16 * 1024 * 1024
T = TypeVar("T")


async def read_body(request: Request) -> dict[str, Any]:
    """The JSON object of a request. Raises UserError for anything else and for more than 16 MB."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > LARGEST:
            raise UserError("The request is too large.")
    found = value_of(bytes(data)) if data else {}
    if not isinstance(found, dict):
        raise UserError("The request is not a JSON object.")
    return found


def value_of(data: bytes | str) -> Any:
    """A JSON value that somebody sent. Raises UserError for what is none, and for what nothing can be done with: see reading.py."""
    try:
        return parse_json(data)
    except ValueError as error:
        raise UserError(f"The request is not JSON: {error}.") from None


def build(cls: type[T], data: dict[str, Any], what: str = "request") -> T:
    """A dataclass from a JSON object; lists become tuples. Raises UserError naming unknown, missing and wrong fields."""
    hints = get_type_hints(cls)
    known = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    wrong = [f"{name} is not known" for name in data if name not in known]
    values: dict[str, Any] = {}
    for name, field in known.items():
        if name in data:
            try:
                values[name] = convert(data[name], hints[name])
            except ValueError as error:
                wrong.append(f"{name} {error}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            wrong.append(f"{name} is missing")
    if wrong:
        raise UserError(f"The {what} cannot be used: " + "; ".join(wrong) + ".")
    return cls(**values)


def convert(value: Any, kind: Any) -> Any:
    """A JSON value as a field of this type wants it. Raises ValueError saying what it should be."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        for one in arguments:
            if one is not type(None):
                try:
                    return convert(value, one)
                except ValueError as error:
                    problem = error
        raise problem
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise ValueError("should be an object")
        return build(kind, value, "field")
    if origin in (tuple, list):
        if not isinstance(value, list):
            raise ValueError("should be a list")
        if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
            if len(value) != len(arguments):
                raise ValueError(f"should have {len(arguments)} values")
            return tuple(convert(v, k) for v, k in zip(value, arguments))
        return (tuple if origin is tuple else list)(convert(v, arguments[0] if arguments else Any) for v in value)
    if origin is dict or kind is dict:
        if not isinstance(value, dict):
            raise ValueError("should be an object")
        return value if not arguments else {str(k): convert(v, arguments[1]) for k, v in value.items()}
    if str(origin) == "typing.Literal":
        if value not in arguments or (isinstance(value, bool) != any(value is a for a in arguments if isinstance(a, bool))):
            raise ValueError(f"should be one of {', '.join(map(str, arguments))}")
        return value
    if kind is bool or isinstance(value, bool):
        if kind is not bool or not isinstance(value, bool):
            raise ValueError("should be true or false" if kind is bool else f"should be {_name(kind)}")
        return value
    if kind is float and isinstance(value, (int, float)):
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError("should be a finite number")
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(kind, type) and isinstance(value, kind):
        return value
    raise ValueError(f"should be {_name(kind)}")


def _name(kind: Any) -> str:
    return {str: "text", int: "a whole number", float: "a number", bool: "true or false"}.get(kind, str(kind))
