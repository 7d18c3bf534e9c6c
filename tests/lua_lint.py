"""Reads the Lua scripts as a careful person would, and says what is wrong. No test lives here, and nothing is run.

It knows the habits of these scripts, not the whole language: what it cannot follow it calls a fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

WRITES: Final = frozenset([
    "HSET", "HSETNX", "HDEL", "HINCRBY", "ZADD", "ZREM", "ZPOPMIN", "ZINCRBY", "SET", "DEL", "UNLINK", "SADD", "SREM",
    "XADD", "XTRIM", "LPUSH", "RPUSH", "EXPIRE",
])  # fmt: skip
SHRINKING: Final = frozenset(["HDEL", "ZREM", "ZPOPMIN", "UNLINK"])
KEYLESS: Final = frozenset(["TIME"])
WHOLE: Final = frozenset(
    ["HGETALL", "HKEYS", "HVALS", "SMEMBERS", "KEYS", "LRANGE", "SCAN", "SSCAN", "ZSCAN", "SORT", "FLUSHDB"]
)
RANGES: Final = frozenset(["ZRANGEBYSCORE", "ZREVRANGEBYSCORE", "ZRANGEBYLEX", "ZREVRANGEBYLEX"])
BANNED: Final = ("cjson", "cmsgpack", "loadstring", "math.random", "os.", "redis.log", "redis.setresp", "setmetatable")

_CALL = re.compile(r"\b(call|many|redis\.p?call)\(")
_TABLE = re.compile(r"local (\w+) = \{((?:\s*\[\w+\] = k_\w+,?)+\s*)\}")
_FUNCTION = re.compile(r"local function (\w+)\(([\w, ]*)\)")


def without_comments(text: str) -> str:
    return re.sub(r"--(?!\[\[)[^\n]*", "", text)


def arguments(text: str, start: int) -> list[str]:
    """The arguments of a call whose bracket opens before `start`."""
    found, depth, quote, last = list[str](), 0, "", start
    for i in range(start, len(text)):
        c = text[i]
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c in "({[":
            depth += 1
        elif c in ")}]" and depth:
            depth -= 1
        elif (c == "," and not depth) or c == ")":
            found.append(text[last:i].strip())
            last = i + 1
            if c == ")":
                return found
    return found


def calls(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """(position, command or '', its arguments) of each call of a command."""
    for match in _CALL.finditer(text):
        first, *rest = arguments(text, match.end())
        yield match.start(), first.strip("'") if first.startswith("'") else "", rest


class Keys:
    """Which expressions of a script can only be keys of its header."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tables = {match[1] for match in _TABLE.finditer(text)}

    def are(self, expression: str, at: int) -> bool:
        """Whether it is a declared key, wherever it came from."""
        if re.fullmatch(r"k_\w+", expression):
            return True
        if " or " in expression:  # a and k_x or b and k_y or k_z
            return all(self.are(branch.rpartition(" and ")[2], at) for branch in expression.split(" or "))
        if indexed := re.fullmatch(r"(\w+)\[[\w.]+\]", expression):
            return indexed[1] in self.tables or self._listed(indexed[1], at)
        return bool(re.fullmatch(r"\w+", expression)) and self._bound(expression, at)

    def _listed(self, name: str, at: int) -> bool:
        """A local list of keys: `local lines = a and {k_x, k_y} or {table[i]}`."""
        bound = list(re.finditer(rf"local {name} = ([^\n]*)", self.text[:at]))
        return bool(bound) and all(
            self.are(item.strip(), bound[-1].start())
            for items in re.findall(r"\{([^}]*)\}", bound[-1][1]) or ["?"] for item in items.split(",")
        )  # fmt: skip

    def _bound(self, name: str, at: int) -> bool:
        """By the nearest binding before: a loop over keys, a local, or a parameter that is a key at every call."""
        loop = rf"for \w+, {name} in ipairs\((.*)\) do"
        local = rf"local (?:\w+, )*{name}\b(?:, \w+)* = ([^\n]*)"
        parameter = rf"local function (\w+)\(((?:\w+, )*){name}\b"
        found = [m for p in (loop, local, parameter) for m in re.finditer(p, self.text[:at])]
        if not found:
            return False
        nearest = max(found, key=lambda match: match.start())
        if nearest[0].startswith("for"):
            lists = re.findall(r"\{([^}]*)\}", nearest[1]) or ["?"]
            return all(self.are(item.strip(), nearest.start()) for items in lists for item in items.split(","))
        if nearest[0].startswith("local function"):
            return self._passed(nearest[1], nearest[2].count(","))
        names = re.match(r"local ([\w, ]+) =", nearest[0])
        values = arguments(nearest[1] + ")", 0)
        index = names[1].split(", ").index(name) if names else 0
        return index < len(values) and self.are(values[index], nearest.start())

    def _passed(self, function: str, index: int) -> bool:
        sites = list(re.finditer(rf"(?<!function )\b{function}\(", self.text))
        passed = [(arguments(self.text, site.end()), site.start()) for site in sites]
        return all(index < len(said) and (said[index] == "key" or self.are(said[index], at)) for said, at in passed)


def key_faults(text: str, declared: tuple[str, ...]) -> list[str]:
    """Keys that no header names, idle ones, and commands on what may be no key at all."""
    text, keys, found = without_comments(text), Keys(without_comments(text)), list[str]()
    body = text[text.index("KEYS[") :].partition("\n")[2] if "KEYS[" in text else text
    used = set(re.findall(r"\bk_(\w+)", body))
    whole = "unpack(KEYS)" in body
    found += [f"{name} is used and not declared" for name in sorted(used - set(declared))]
    found += [f"{name} is declared and not used" for name in sorted(set(declared) - used) if not whole]
    found += ["a key is taken by its number"] if re.search(r"KEYS\[", body) else []
    for at, command, said in calls(text):
        passed_on = not command and said[:1] == ["key"]  # in many(command, key, list)
        if command in KEYLESS or passed_on or (command == "UNLINK" and said == ["unpack(KEYS)"]):
            continue
        several = len(said) if command == "EXISTS" else 1
        found += [f"{command} on {key!r}, which may be no key" for key in said[:several] if not keys.are(key, at)]
        found += [f"{command} without a key"] if not said else []
    return found


def loop_faults(text: str, header: str) -> list[str]:
    """What could run for as long as there are data."""
    text, found = without_comments(text), list[str]()
    for at, command, said in calls(text):
        if command in WHOLE and f"O({(said or ['?'])[0].removeprefix('k_')})" not in header:
            found.append(f"{command} reads all there is, and COST does not say so")
        if command in RANGES and "'LIMIT'" not in said:
            found.append(f"{command} without LIMIT: {text[at : at + 60]!r}")
        if command == "HSCAN" and "'COUNT'" not in said:
            found.append("HSCAN without COUNT")
        if command in ("ZRANGE", "ZREVRANGE") and said[1:3] == ["0", "-1"]:
            found.append(f"{command} of everything")
        if command == "ZPOPMIN" and len(said) > 1 and re.fullmatch(r"call\(.*|#\w+", said[1]):
            found.append("ZPOPMIN of as many as there are")
    for match in re.finditer(r"\bwhile (.*?) do\b", text):
        function = text[match.end() :].partition("\n  end\nend")[0]
        if not re.search(r"[<>]", match[1]) and not (match[1] == "true" and "return" in function):
            found.append(f"while {match[1]}: no limit to be seen")
    if "repeat" in re.findall(r"\b(repeat)\b", text):
        found.append("repeat: no limit to be seen")
    for match in re.finditer(r"\bfor [\w, ]+ in (.*?) do\b", text):
        if not re.match(r"(ipairs|string\.gmatch)\(", match[1]):
            found.append(f"for … in {match[1]}: no limit to be seen")
    return found


def order_faults(source: str) -> list[str]:
    """What a script must look at before it writes. `source` is the file itself, without its libraries."""
    header, body, found = source.partition("\n-- USES")[0], without_comments(source), list[str]()
    writes = [(at, command, said) for at, command, said in calls(body) if command in WRITES]
    idle = re.compile(r"^'-?'$")
    real = [at for at, command, said in writes if not (command in SHRINKING and idle.match((said[1:] or ["?"])[0]))]
    through = [match.start() for match in re.finditer(r"\b(?:remember|insert|complete|claims)\(", body)]
    first = min([*real, *through], default=len(body))
    if "stale" in header and not 0 <= body.find("recall(actor, n)") < first:
        found.append("it writes before it knows whether the call is a repeat")
    if re.search(r"\bmoved\b", header) and not -1 < body.find("'home'") < first:
        found.append("it writes before it knows whether the queue lives here")
    if "remember(" in body and "recall(" not in body:
        found.append("it remembers calls and never recalls one")
    if writes and "stale" in header and "remember(actor, n, now, " not in body:
        found.append("it never remembers the call")
    return found


def first_write(source: str) -> str:
    """The command of a script file's first write, '' where it leaves writing to its libraries.

    One that is only tried, by redis.pcall, is no matter: what comes when it failed counts.
    """
    body = without_comments(source)
    tried = re.compile(r"redis\.pcall\(")
    return next((command for at, command, _ in calls(body) if command in WRITES and not tried.match(body, at)), "")


def word_faults(text: str) -> list[str]:
    """Libraries and functions that have no place in a script."""
    text = without_comments(text)
    found = [f"{word} is used" for word in BANNED if re.search(rf"\b{re.escape(word)}", text)]
    if len(re.findall(r"call\('TIME'\)", text)) > 1:
        found.append("the clock is read beside clock()")
    return found
