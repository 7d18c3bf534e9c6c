"""Arguments and results on the wire: bound to names, validated on both sides, refused field by field."""

from __future__ import annotations

import enum
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Optional, TypedDict
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from queuekit import Inject, JobContext, codec
from queuekit.errors import InvalidOption, PayloadError, Unsupported
from queuekit.producing.definition import Definition, declared, of_processor


class Colour(enum.Enum):
    RED = "red"


class Address(BaseModel):
    street: str
    zip_code: int = Field(alias="zipCode")


@dataclass
class Point:
    x: int
    y: Decimal = Decimal(0)


class Row(TypedDict, total=False):
    id: int
    price: Decimal
    raw: bytes


class Orm:
    """Something a database made."""


def define(fn: Any, **options: Any) -> Definition:
    return Definition(fn.__name__, fn, options)


def through(fn: Any, *args: object, **kwargs: object) -> Any:
    """The arguments as the handler gets them."""
    definition = define(fn)
    return definition.decode(definition.encode(args, kwargs))


def errors(fn: Any, *args: object, **kwargs: object) -> tuple[str, ...]:
    with pytest.raises(PayloadError) as caught:
        define(fn).encode(args, kwargs)
    return caught.value.errors


def typed(
    name: str,
    count: int = 1,
    *,
    when: datetime | None = None,
    day: date | None = None,
    cost: Decimal = Decimal(0),
    id: UUID | None = None,
    colour: Colour = Colour.RED,
    raw: bytes = b"",
    span: timedelta | None = None,
    tags: set[str] = frozenset(),  # type: ignore[assignment]  # an empty default
    where: Address | None = None,
    at: Point | None = None,
    row: Row | None = None,
    rows: list[Row] = [],  # noqa: B006  never changed
    anything: Any = None,
    more: Optional[dict[str, Any]] = None,  # noqa: UP045  people write it
) -> None: ...


def untyped(a, b=2, *, c=3): ...  # type: ignore[no-untyped-def]


def test_values_come_back_as_their_annotations_say() -> None:
    said = {
        "name": "n", "count": 5, "when": datetime(2027, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), "day": date(2027, 1, 2),
        "cost": Decimal("19.90"), "id": UUID(int=7), "colour": Colour.RED, "raw": b"\xff\x00$",
        "span": timedelta(seconds=90),
        "tags": {"a", "b"}, "where": Address(street="s", zipCode=12345), "at": Point(1, Decimal("2.5")),
        "row": {"id": 1, "price": Decimal("0.10"), "raw": b"\xfe"}, "rows": [{"id": 2}],
        "anything": {"k": [1, None, "x"]},
        "more": {"deep": {"er": [1.5]}},
    }  # fmt: skip
    assert through(typed, **said) == ((), said)


def test_validation_is_lax_and_the_validated_form_is_stored() -> None:
    body = define(typed).encode(("n", "5"), {"when": "2027-01-02T03:04:05Z"})
    assert codec.decode(body) == {"name": "n", "count": 5, "when": "2027-01-02T03:04:05Z"}


def test_defaults_are_left_to_the_worker() -> None:
    assert define(typed).encode(("n",), {}) == b'j{"name":"n"}'


def test_what_does_not_fit_is_told_argument_by_argument() -> None:
    assert errors(typed) == ("name: missing",)
    assert errors(typed, "n", "x", nme=1, delay=5) == (
        "count: Input should be a valid integer, unable to parse string as an integer",
        "nme: no such argument",
        "delay: no such argument (an option? then .using(delay=…))",
    )
    assert errors(typed, "n", 1, 2) == ("3 positional arguments, at most 2 are taken",)
    assert errors(typed, "n", name="m") == ("name: given twice, by position and by name",)
    assert errors(typed, "n", where={"street": 5}) == (
        "where.street: Input should be a valid string",
        "where.zipCode: Field required",
    )
    assert errors(untyped, 1, d=5) == ("d: no such argument",)
    assert errors(untyped) == ("a: missing",)


def test_values_of_others_do_not_show_in_the_error() -> None:
    with pytest.raises(PayloadError) as caught:
        define(typed).encode(("n",), {"count": "hunter2-secret"})
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


NO_JSON = [
    Decimal(1), UUID(int=1), Colour.RED, datetime(2027, 1, 1, tzinfo=UTC), b"x", {1: "a"}, {1, 2}, Orm(), Point(1),
    {"deep": [Decimal(1)]},
]  # fmt: skip


@pytest.mark.parametrize("value", NO_JSON)
def test_where_nothing_is_said_only_json_types_pass(value: object) -> None:
    for fn, name in ((untyped, "a"), (typed, "anything")):
        (line,) = errors(fn, "n", **{name: value}) if name != "a" else errors(fn, value)
        assert "JSON" in line
    (line,) = errors(typed, "n", more={"x": value})
    assert "JSON" in line


def test_an_object_of_a_database_is_refused_with_what_to_do() -> None:
    def charge(user: Orm) -> None: ...

    (line,) = errors(untyped, Orm())
    assert "pass its id" in line
    with pytest.raises(PayloadError, match=r"argument 'user': Orm has no JSON form .*pass its id"):
        define(charge).encode((Orm(),), {})


def test_nan_and_too_deep_are_refused_and_big_integers_pass() -> None:
    for fn in (untyped, typed):
        name = "a" if fn is untyped else "anything"
        first = () if fn is untyped else ("n",)
        with pytest.raises(PayloadError, match="nan"):
            define(fn).encode(first, {name: float("nan")})
        deep: object = 1
        for _ in range(70):
            deep = [deep]
        with pytest.raises(PayloadError, match="64 levels"):
            define(fn).encode(first, {name: deep})
        assert through(fn, *first, **{name: 2**80})[1][name] == 2**80
    assert through(untyped, "\ud800")[1]["a"] == "\ud800"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )
)
def test_any_json_comes_back_equal(value: object) -> None:
    assert through(untyped, value)[1]["a"] == value
    assert through(typed, "n", anything=value)[1]["anything"] == value


def test_the_only_model_takes_the_whole_payload() -> None:
    def model(address: Address) -> None: ...
    def data(point: Point) -> None: ...
    def table(row: Row) -> None: ...
    def two(address: Address, n: int = 1) -> None: ...
    def with_context(ctx: JobContext, address: Address, smtp: str = Inject(str)) -> None: ...

    home = Address(street="s", zipCode=1)
    assert define(model).encode((home,), {}) == b'j{"street":"s","zipCode":1}'
    assert through(model, home) == ((), {"address": home})
    assert through(model, address=home) == ((), {"address": home})
    assert through(data, Point(1)) == ((), {"point": Point(1)})
    assert through(table, {"id": 1, "raw": b"\xff"}) == ((), {"row": {"id": 1, "raw": b"\xff"}})
    assert define(two).encode((home,), {}) == b'j{"address":{"street":"s","zipCode":1}}'
    assert define(with_context).encode((home,), {}) == b'j{"street":"s","zipCode":1}'
    assert errors(model) == ("address: the task takes this one argument, not 0",)
    assert errors(model, {"street": "s"}) == ("zipCode: missing",)


def test_context_and_injected_arguments_do_not_travel() -> None:
    def send(ctx: JobContext, to: str, smtp: str = Inject(str)) -> None: ...

    definition = define(send)
    assert (definition.wants_context, list(definition.injects)) == (True, ["smtp"])
    assert definition.encode(("a",), {}) == b'j{"to":"a"}'
    assert errors(send, "a", smtp="x") == ("smtp: the worker provides it (Inject); do not pass it",)


def test_positional_only_arguments_go_back_by_position() -> None:
    def move(source: str, target: str, /, *, copy: bool = False) -> None: ...

    assert through(move, "a", "b", copy=True) == (("a", "b"), {"copy": True})


def test_further_names_are_json() -> None:
    def log(level: int, **fields: object) -> None: ...

    assert through(log, 1, who="x", n=[1]) == ((), {"level": 1, "who": "x", "n": [1]})
    (line,) = errors(log, 1, cost=Decimal(1))
    assert line.startswith("cost: holds a Decimal")


def test_signatures_that_cannot_be_a_task() -> None:
    def middle(a: int, ctx: JobContext) -> None: ...
    def many(*paths: str) -> None: ...
    def stream() -> Any:
        yield 1

    for fn, words in ((middle, "put it first"), (many, "take a list"), (stream, "generator")):
        with pytest.raises(InvalidOption, match=words):
            define(fn)
    with pytest.raises(InvalidOption, match="runs on the event loop"):
        define(_coroutine, executor="thread")
    with pytest.raises(InvalidOption, match="would block"):
        define(middle_free, executor="async")
    with pytest.raises(Unsupported, match=r"0\.2"):
        define(middle_free, executor="process")


async def _coroutine() -> None: ...


def middle_free(a: int) -> None: ...


def test_a_fastapi_depends_is_refused_with_the_right_import() -> None:
    class Depends:
        """Stands for FastAPI's: told by its name and module, so that fastapi need not be installed."""

    Depends.__module__ = "fastapi.params"

    def view(db: object = Depends()) -> None: ...

    with pytest.raises(InvalidOption, match="from queuekit import Inject"):
        define(view)


def test_a_newer_payload_is_refused_and_an_older_one_is_tried() -> None:
    definition = define(typed, version=2)
    with pytest.raises(PayloadError, match="version 3; this worker knows 2"):
        definition.decode(b'j{"name":"n"}', 3)
    assert definition.decode(b'j{"name":"n"}', 1) == ((), {"name": "n"})


@pytest.mark.parametrize("body", [b"", b"x{}", b"j{", b"j[1]", b'j"text"', b"jnull", b'j{"name":[]}'])
def test_what_is_no_payload_of_the_task_is_a_payload_error(body: bytes) -> None:
    with pytest.raises(PayloadError):
        define(typed).decode(body)
    if body != b'j{"name":[]}':
        with pytest.raises(PayloadError):
            define(untyped).decode(body)


def test_results_by_their_annotation() -> None:
    def row() -> Row: ...  # type: ignore[empty-body]  # only its annotation is read
    def many() -> list[Address]: ...  # type: ignore[empty-body]  # as above
    def plain(): ...  # type: ignore[no-untyped-def]
    def nothing() -> None: ...
    def orm() -> Orm: ...  # type: ignore[empty-body]  # as above

    def back(fn: Any, value: object) -> object:
        definition = define(fn)
        return definition.decode_result(definition.encode_result(value))

    assert back(row, {"price": Decimal("1.10"), "raw": b"\xff"}) == {"price": Decimal("1.10"), "raw": b"\xff"}
    assert back(many, [Address(street="s", zipCode=1)]) == [Address(street="s", zipCode=1)]
    assert back(plain, {"a": [1]}) == {"a": [1]}
    assert back(nothing, None) is None
    assert back(orm, {"id": 7}) == {"id": 7}
    for fn in (plain, orm):
        with pytest.raises(PayloadError, match="result of task"):
            define(fn).encode_result(Orm())
    with pytest.raises(PayloadError, match="does not fit its type"):
        define(row).decode_result(b'j{"price":"x"}')


def test_a_declared_contract_is_the_payload_as_a_whole() -> None:
    charge = declared("charge", Address, str, {})
    assert charge.encode((Address(street="s", zipCode=1),), {}) == b'j{"street":"s","zipCode":1}'
    assert charge.fn is None

    def handler(ctx: JobContext, payload: Address) -> str:
        return payload.street

    charge.handle_with(handler)
    assert charge.decode(b'j{"street":"s","zipCode":1}') == ((), {"payload": Address(street="s", zipCode=1)})
    anything = declared("any", dict, None, {})
    anything.handle_with(lambda data: data)
    assert anything.decode(anything.encode(({"a": 1},), {})) == ((), {"data": {"a": 1}})
    with pytest.raises(InvalidOption, match="not int"):
        declared("number", int, None, {})
    with pytest.raises(InvalidOption, match="takes 2 arguments"):
        declared("two", Address, None, {}).handle_with(lambda a, b: None)


def test_a_processor_is_made_at_its_first_job() -> None:
    made: list[object] = []

    class Resize:
        task = "resize"

        def __init__(self) -> None:
            made.append(self)

        def process(self, ctx: JobContext, payload: Address, /) -> int:
            return payload.zip_code

    definition = of_processor(Resize, "video")
    assert (definition.name, definition.queue) == ("resize", "video")
    assert (definition.wants_context, definition.is_async) == (True, False)
    assert made == []
    args, kwargs = definition.decode(b'j{"street":"s","zipCode":12}')
    assert definition.fn is not None
    assert [definition.fn(None, *args, **kwargs) for _ in range(2)] == [12, 12]
    assert len(made) == 1


def test_a_payload_given_as_an_object() -> None:
    assert define(typed).encode_payload({"name": "n", "count": "3"}) == b'j{"name":"n","count":3}'
    with pytest.raises(PayloadError, match="give an object"):
        define(typed).encode_payload([1])


def test_classes_of_later_lines_and_of_this_function_are_found() -> None:
    class Inner(BaseModel):
        n: int

    def local(inner: Inner, later: "Later") -> None: ...  # noqa: UP037  the point of the test

    assert through(local, Inner(n=1), Later(m=2)) == ((), {"inner": Inner(n=1), "later": Later(m=2)})


class Later(BaseModel):
    m: int


def test_an_untyped_task_needs_no_pydantic() -> None:
    import subprocess

    code = (
        "import sys, queuekit.producing.definition as d\n"
        "def f(a, b=1): ...\n"
        "one = d.Definition('f', f, {})\n"
        "assert one.decode(one.encode((1,), {})) == ((), {'a': 1})\n"
        "assert 'pydantic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
