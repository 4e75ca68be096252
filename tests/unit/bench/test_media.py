from edumeet_recording.bench.media import worst


def test_the_worst_of_each_figure_is_the_least_presence_and_the_most_of_the_rest() -> None:
    both = {"av_offset_p95_ms": 5.0, "presence": 0.98, "cadence_p95_ms": 1.0, "decode_errors": 0}
    sound = {"av_offset_p95_ms": None, "presence": 1.0, "cadence_p95_ms": 7.0, "decode_errors": 2}

    assert worst([both, sound]) == {
        "av_offset_p95_ms": 5.0,
        "presence": 0.98,
        "cadence_p95_ms": 7.0,
        "decode_errors": 2,
    }
