"""The bench of finalizing, on a short tape: it measures a file that was really made."""

from pathlib import Path

from edumeet_recording.bench import finalize


def test_it_measures_a_file_that_was_made(tmp_path: Path) -> None:
    measured = finalize.measure(tmp_path, 8)

    (made,) = (tmp_path / "storage" / "recordings" / "bench").glob("*.webm")
    assert made.stat().st_size > 500_000
    assert 7.9 < measured.media_s < 8.1
    assert measured.figures.keys() == {"cpu_s_per_hour", "peak_rss_mb", "realtime_factor"}
    assert all(value > 0 for value in measured.figures.values())
