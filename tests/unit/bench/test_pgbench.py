"""A statement that was sent becomes a line of pgbench that can be sent again."""

import pytest

from edumeet_recording.bench.pgbench import Statement, script_of

ID = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("value", "kind", "literal"),
    [
        (None, "text", "NULL::text"),
        (7, "int4", "E'7'::int4"),
        (True, "bool", "E'True'::bool"),
        ("it's 12:30", "text", r"E'it''s 12\x3a30'::text"),
        ("back\\slash", "text", r"E'back\\slash'::text"),
        (b"\x01\xff", "bytea", r"'\x01ff'::bytea"),
        ({"a": 1}, "jsonb", r"""E'{"a"\x3a 1}'::jsonb"""),
        (["a", "b"], "text[]", "ARRAY[E'a', E'b']::text[]"),
        (f"room-{ID}", "text", f"(E'room-{ID}' || :r)::text"),
        ("still-12", "text", "(E'still-' || :n)::text"),
        ([ID], "jsonb", f"""(E'["{ID}' || :r || E'"]')::jsonb"""),
        ([f"\\x{ID}{ID}"], "jsonb", rf"""E'["\\\\x{ID}{ID}"]'::jsonb"""),
    ],
)
def test_values_are_written_so_that_postgresql_reads_them(value: object, kind: str, literal: str) -> None:
    assert Statement("SELECT $1", (value,), (kind,)).as_script() == f"SELECT {literal};\n"


def test_a_statement_is_one_line_with_its_values_in_their_places() -> None:
    statement = Statement("UPDATE t\n  SET a = $2 WHERE b = $1\n", (1, 2), ("int4", "int8"))
    assert statement.as_script() == "UPDATE t SET a = E'2'::int8 WHERE b = E'1'::int4;\n"


def test_a_script_draws_its_numbers_first() -> None:
    lines = script_of([Statement("BEGIN;", ())]).splitlines()
    assert [line.split()[0] for line in lines] == ["\\set", "\\set", "BEGIN;"]
