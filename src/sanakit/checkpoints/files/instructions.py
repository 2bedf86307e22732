"""The instructions of a pickle, followed without making anything but plain values: no name is looked up or called here.

``pickletools`` of the standard library takes them apart and runs none. Source: its descriptions of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

_NOTHING = frozenset({"PROTO", "FRAME"})
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": set, "NONE": lambda: None,
    "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
}  # fmt: skip
_OF_MARKED: dict[str, Callable[[list[Any]], Any]] = {
    "TUPLE": tuple, "LIST": list, "FROZENSET": frozenset,
    "DICT": lambda items: dict(zip(items[::2], items[1::2], strict=True)),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Name:
    """What a pickle calls something by, such as ``torch._utils._rebuild_tensor_v2``."""

    path: str


class Unread(dict[Any, Any]):
    """Stands for any other object; the entries of a mapping are kept, since weights may lie in one."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # a key of a mapping, as members of an Enum are


def follow(
    instructions: Iterable[tuple[Any, Any, Any]], call: Callable[[Any, Any], Any], stored: Callable[[Any], Any]
) -> Any:
    """The value that is left at the end.

    Args:
        instructions: as ``pickletools.genops`` gives them.
        call: what a ``Name`` makes of its arguments; None for an object that is not read.
        stored: what lies beside the pickle, by its entry.

    Raises:
        ValueError: an instruction that no writer of tensors gives; a damaged pickle raises anything.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def marked() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    def made(name: Any, args: Any) -> Any:
        value = call(name, args)
        return Unread() if value is None else value

    for instruction, argument, _ in instructions:
        match name := instruction.name:
            case "STOP":
                return stack.pop()
            case "MARK":
                marks.append(len(stack))
            case "POP":
                stack.pop()
            case "POP_MARK":
                marked()
            case "DUP":
                stack.append(stack[-1])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack[-int(name[-1]) :] = [tuple(stack[-int(name[-1]) :])]
            case "APPEND" | "SETITEM":
                _put(stack, [stack.pop() for _ in range(1 if name == "APPEND" else 2)][::-1], name)
            case "APPENDS" | "SETITEMS" | "ADDITEMS":
                _put(stack, marked(), name)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(Name(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                stack[-2:] = [Name(f"{stack[-2]}.{stack[-1]}")]
            case "REDUCE" | "NEWOBJ":
                stack[-2:] = [made(*stack[-2:])]
            case "NEWOBJ_EX":
                stack[-3:] = [made(*stack[-3:-1])]
            case "OBJ":
                first, *args = marked()
                stack.append(made(first, args))
            case "INST":
                stack.append(made(Name(argument.replace(" ", ".", 1)), marked()))
            case "BUILD":
                stack.pop()  # what an object is set to
            case "BINPERSID":
                stack.append(stored(stack.pop()))
            case _ if name in _EMPTY:
                stack.append(_EMPTY[name]())
            case _ if name in _OF_MARKED:
                stack.append(_OF_MARKED[name](marked()))
            case _ if argument is not None and name not in ("PERSID", "EXT1", "EXT2", "EXT4", *_NOTHING):
                stack.append(argument)  # a number or a text
            case _ if name not in _NOTHING:
                raise ValueError(f"it has the instruction {name}")
    raise ValueError("its instructions have no end")


def _put(stack: list[Any], items: list[Any], name: str) -> None:
    """Into a list, a mapping or a set; into another object nothing is put."""
    target = stack[-1]
    if name.startswith("SETITEM") and isinstance(target, dict):
        target.update(zip(items[::2], items[1::2], strict=True))
    elif name.startswith("APPEND") and isinstance(target, list):
        target.extend(items)
    elif name == "ADDITEMS" and isinstance(target, set):
        target.update(items)
