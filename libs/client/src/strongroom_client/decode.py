"""Own how a JSON answer becomes a dataclass: by its annotations, strictly in what is there, blind to what is new."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
UNIONS: Final = (UnionType, Union)


def read(kind: type[T], value: object) -> T:
    """Return `value` as `kind`; raise ValueError, without the value, where a field is missing or of another type.

    Fields that are not known are left out, and words that are not known are kept: a newer gateway does no harm.
    """
    return cast("T", _read(kind, value, getattr(kind, "__name__", "")))


def _read(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    if origin in UNIONS:
        return _choice(arguments, value, where)
    if origin is tuple:
        return tuple(_read(arguments[0], one, where) for one in _typed(list, value, where))
    if origin is dict:
        return {str(name): _read(arguments[1], one, where) for name, one in _typed(dict, value, where).items()}
    if origin is Literal:
        return _typed(type(arguments[0]), value, where)
    return value if kind is object else _typed(kind, value, where)


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    told: Mapping[str, Any] = _typed(dict, value, where)
    hints, made = _hints(kind), {}
    for field in fields(kind):
        if field.name in told:
            made[field.name] = _read(hints[field.name], told[field.name], f"{where}.{field.name}")
        elif field.default is MISSING:
            raise ValueError(f"{where}.{field.name} is missing")
    return kind(**made)


def _choice(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    for kind in (one for one in kinds if one is not NoneType):
        try:
            return _read(kind, value, where)
        except ValueError:
            continue
    raise ValueError(f"{where} has another type")


def _typed(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{where} has another type")
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
