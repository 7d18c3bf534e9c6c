"""`-o KEY=VALUE` on the command line, read by the one list of options. Which options there are stands in the domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from queuekit.domain.options import Scope, dump, parse_pairs

OptionList = Annotated[
    list[str] | None, typer.Option("--option", "-o", metavar="KEY=VALUE", help="An option; may be repeated.")
]


def parse_options(pairs: Sequence[str], scope: Scope) -> dict[str, Any]:
    """Options in the form that the public API takes. Raises InvalidOption with the nearest name for an unknown one."""
    return dict(dump(scope, parse_pairs(scope, pairs)))
