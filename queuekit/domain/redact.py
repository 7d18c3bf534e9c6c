"""Takes secrets out of text that people see: logs, errors, reprs. Who shows the text, and where, is not known here."""

from __future__ import annotations

import re

MASK = "***"

# After a store's scheme everything up to the last "@" of the word is taken for user and password: people write
# passwords with "/", "#" and "@" unescaped (celery#3817). Other URLs end their user part at the first "/", "?" or "#".
_USERINFO = re.compile(
    r"""((?:rediss?|mongodb)(?:\+[a-z]+)?://)([^\s"'<>]+) | (://)([^\s"'<>/?\#]+)""", re.IGNORECASE | re.VERBOSE
)
_PAIR = re.compile(
    r"""
    ( (?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|queuekit_keys) [\w.-]{0,64} ["']? \s{0,4} [=:] \s* )
    (?! (?:None|null)\b )
    (?: b? (?: "(?:[^"\\]|\\.)*(?:"|\Z) | '(?:[^'\\]|\\.)*(?:'|\Z) )   # quoted, or cut off
      | (?: (?! [,;]?(?:\s|$) ) [^\s&"'})\]] )+ )         # bare: to a space, &, quote or bracket
    """,
    re.IGNORECASE | re.VERBOSE,
)
_BEARER = re.compile(r"\b(bearer|basic)\s+[\w.~+/-]{8,}=*", re.IGNORECASE)
_PEM = re.compile(r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


def redact(text: str) -> str:
    """`text` with passwords in URLs and queries, `password=` pairs, bearer tokens and private keys as `***`.

    The user's name in a URL stays, hosts and all other options too. Applying it twice changes nothing more.
    """
    text = _PEM.sub(MASK, text)
    text = _USERINFO.sub(_without_password, text)
    text = _BEARER.sub(rf"\1 {MASK}", text)
    return _PAIR.sub(rf"\1{MASK}", text)


def _without_password(match: re.Match[str]) -> str:
    # The pattern takes the whole word and the "@" is sought here: a pattern that sought it would need quadratic time.
    userinfo, at, hosts = (match[2] or match[4]).rpartition("@")
    if not at:
        return match[0]
    user, colon, _ = userinfo.partition(":")
    return f"{match[1] or match[3]}{user + colon if colon else ''}{MASK}@{hosts}"
