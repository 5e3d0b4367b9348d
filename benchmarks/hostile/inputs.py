"""Malformed input of every kind, made from a source of random numbers: the same number makes the same input.

Used by ``benchmarks/fuzz.py`` and by the property tests, which hand in hypothesis's own source so that it can look for
the smallest input that does harm.
"""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

# fmt: off
TEXTS = (
    "", " ", "a" * 300, "b" * 5000, "../outside/x", "../../outside/x", "/etc/passwd", "..", ".", "/", "a/b", "-", "--",
    "\0", "a\0b", "\x1b[2J\x1b]0;title\x07", "\n", "a\r\nb", "\t", "\u202e\u2066", "\ud800", "\udcff", "\U0001f642",
    "é", "\x85", "\u2028", "NaN", ".inf", "1e999", "-0", "0x10", "0o7", "1_000", "true", "null", "~", "~nobody_here/x",
    "<script>alert(1)</script>", "a|b`c*_d_", "\\input{x}", "$HOME", "%s{0}", "]]>", "'\"", "&amp;", "=1+1",
    "json:loads", "no.such.module:thing", "raynas_snn.core.errors:UserError", "trials.fake:RECIPE", "a.b", "::", "é:ü",
    "p0000-s0", "accuracy", "maximize", "choice", "ma", "ct", "grid", "tpe", "nsga2", "random", "fixed", "finished",
    "model.decay",
)
NUMBERS = (
    0, -1, 1, 2, 3, 100, 2**31, 2**53, 2**63, 2**64, 10**39, -(10**39), 10**400, 0.0, -0.0, 0.5, 1e-320, 1e308, -1e308,
    1e200, float("nan"), float("inf"), -float("inf"),
)
TOKENS = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r", b",", b'"', b"'", b"{", b"}", b"[", b"]", b":", b"&a ", b"*a ",
    b"- ", b"? ", b"| \n", b"> \n", b"%YAML 9.9\n", b"---\n", b"...\n", b"!!python/object/apply:os.system ", b"<<: ",
    b'"\\UFFFFFFFF"', b'"\\ud800"', b"\\u0000", b"#", b"\t", b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"9" * 5000,
    b"[" * 40, b"[" * 3000, b"{a: " * 100, b"\x1b[31m", b"../" * 20, "\u202e".encode(), b"\xed\xa0\x80", b"null",
    b"true", b"!!binary ",
)
# fmt: on
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")


def hostile_value(random: Random, depth: int = 0) -> Any:
    """Anything that JSON or YAML can hold, and some that they cannot."""
    kind = random.randrange(10 if depth < 4 else 7)
    if kind < 3:
        return random.choice(TEXTS)
    if kind < 6:
        return random.choice(NUMBERS)
    if kind == 6:
        return random.choice((None, True, False))
    if kind == 7:
        return [hostile_value(random, depth + 1) for _ in range(random.randrange(4))]
    if kind == 8:
        return {random.choice(TEXTS): hostile_value(random, depth + 1) for _ in range(random.randrange(4))}
    nested: Any = random.choice(TEXTS)
    for _ in range(random.choice((3, 30, 300))):
        nested = [nested] if random.random() < 0.5 else {"a": nested}
    return nested


def changed(random: Random, value: Any) -> Any:
    """A valid value with up to three parts of it replaced, left out, renamed, added or repeated."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        value = _changed_once(random, value)
    return value


def _changed_once(random: Random, value: Any) -> Any:
    if isinstance(value, dict) and value and random.random() < 0.9:
        value, key = dict(value), random.choice(list(value))
        action = random.randrange(8)
        if action < 5:
            value[key] = _changed_once(random, value[key])
        elif action == 5:
            del value[key]
        elif action == 6:
            other = random.choice(list(value))
            value[random.choice((random.choice(TEXTS), other))] = value.pop(key)
        else:
            value[random.choice(TEXTS)] = hostile_value(random)
        return value
    if isinstance(value, list) and value and random.random() < 0.9:
        value, index = list(value), random.randrange(len(value))
        action = random.randrange(6)
        if action < 4:
            value[index] = _changed_once(random, value[index])
        elif action == 4:
            del value[index]
        else:
            value *= random.choice((2, 20, 200))
        return value
    return hostile_value(random)


def hostile_json(random: Random, valid: Any) -> bytes:
    """A JSON text that is damaged in its structure, in its bytes, or both."""
    text = json.dumps(
        changed(random, valid) if random.random() < 0.7 else valid, indent=random.choice((None, 2)), ensure_ascii=False
    )
    data = text.encode(errors="surrogatepass")
    if random.random() < 0.1:  # numbers that Python cannot write
        token = random.choice((b"1e999", b"9" * 5000, b"-1e-999", b"00", b"1.", b"NaN"))
        matches = list(_NUMBER.finditer(data))
        if matches:
            match = random.choice(matches)
            data = data[: match.start()] + token + data[match.end() :]
    if random.random() < 0.05 and data.startswith(b"{"):  # a key twice
        data = data[:-1] + b"," + data[1:]
    return damaged(random, data) if random.random() < 0.4 else data


def damaged(random: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Bytes with up to four damages: bits, cuts, repeats, insertions, holes, a piece of another file."""
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        start = random.randrange(len(data) + 1)
        end = min(len(data), start + random.choice((0, 1, 1, 4, 16, 200, len(data))))
        data = _damaged_once(random, data, start, end, others)
    return data


def _damaged_once(random: Random, data: bytes, start: int, end: int, others: Sequence[bytes]) -> bytes:
    before, inside, behind = data[:start], data[start:end], data[end:]
    match random.randrange(13):
        case 0:
            return before
        case 1:
            return inside + behind
        case 2:
            return before + behind
        case 3:
            return before + inside + inside + behind
        case 4:
            return before + bytes(len(inside)) + behind
        case 5:
            return before + b"\xff" * len(inside) + behind
        case 6:
            return before + random.randbytes(len(inside)) + behind
        case 7:
            return before + random.choice(TOKENS) + inside + behind
        case 8:
            return before + random.choice(TOKENS) + behind
        case 9 if others:
            return before + random.choice(others)[start:]
        case _:
            flipped = bytes(byte ^ (1 << random.randrange(8)) for byte in inside[:1])
            return before + flipped + inside[1:] + behind


def nonsense(random: Random) -> bytes:
    """Words of a grammar in no order, or random bytes."""
    if random.random() < 0.2:
        return random.randbytes(random.randrange(200))
    words = [random.choice(TOKENS) for _ in range(random.randrange(1, 12))]
    words += [random.choice(TEXTS).encode(errors="surrogatepass") for _ in range(random.randrange(6))]
    random.shuffle(words)
    return random.choice((b"", b" ", b"\n", b": ")).join(words)


def plant(random: Random, path: Path, outside: Path) -> None:
    """Puts something in place of a file that is none, or leads out of the folder.

    Args:
        random: Decides what.
        path: The file, which may be there.
        outside: A folder that nothing may reach.
    """
    _remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = random.randrange(8)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.mkdir()
    elif kind == 2:
        path.symlink_to("/dev/zero")
    elif kind == 3:
        path.symlink_to(path)
    elif kind == 4:
        path.symlink_to(outside / "precious.txt")
    elif kind == 5:
        path.symlink_to(outside / "new.txt")
    elif kind == 6:
        path.symlink_to(outside)
    else:
        with path.open("wb") as file:
            file.truncate(2**40)  # takes no room on the disk


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for child in path.iterdir():
            _remove(child)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def put(path: Path, data: bytes) -> None:
    """Writes a file in place of whatever is there, and never through it."""
    _remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def lay_out(folder: Path, files: dict[str, bytes]) -> None:
    """Makes a folder that holds exactly these files, by relative path."""
    _remove(folder)
    for name, data in files.items():
        put(folder / name, data)


class Harm:
    """Unpickles as a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)
