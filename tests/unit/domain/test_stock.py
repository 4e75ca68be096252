"""Only what earlier attempts left is ever thrown away."""

from hypothesis import given
from hypothesis import strategies as st

from edumeet_recording.domain.stock import take_stock

FILE = "recordings/j/2/recording-j.mp4"
CHUNKS = {"tapes/j/c/0", "tapes/j/c/1"}


def test_what_fits() -> None:
    stock = take_stock(CHUNKS, {FILE, "recordings/j/2/report.json"}, chunks=CHUNKS, file_key=FILE, attempt=2)
    assert (stock.missing_tape, stock.unknown_tape, stock.file_is_missing, stock.leftovers) == ((), (), False, ())


def test_what_does_not() -> None:
    stock = take_stock(
        {"tapes/j/c/0", "tapes/j/x/0"},
        {"recordings/j/1/recording-j.mp4", "recordings/j/2/poster.jpg", "recordings/j/3/recording-j.mp4"},
        chunks=CHUNKS,
        file_key=FILE,
        attempt=2,
    )
    assert stock.missing_tape == ("tapes/j/c/1",)
    assert stock.unknown_tape == ("tapes/j/x/0",)
    assert stock.file_is_missing
    assert stock.leftovers == ("recordings/j/1/recording-j.mp4",), "a later attempt may be under way"


def test_a_failed_recording_has_only_leftovers() -> None:
    stock = take_stock(CHUNKS, {"@eu-1/recordings/j/1/part"}, chunks=CHUNKS, file_key=None, attempt=1)
    assert stock.leftovers == ("@eu-1/recordings/j/1/part",)


@given(st.sets(st.from_regex(r"(tapes|recordings)/j/[0-9]/[a-z]", fullmatch=True)), st.integers(0, 9))
def test_neither_tape_nor_the_file_is_a_leftover(keys: set[str], attempt: int) -> None:
    stock = take_stock(keys, keys, chunks=(), file_key="recordings/j/5/f", attempt=attempt)
    assert all(key.startswith("recordings/j/") and not key.startswith("recordings/j/5/") for key in stock.leftovers)
