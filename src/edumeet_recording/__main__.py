"""`python -m edumeet_recording` is `edumeet-recording`."""

from edumeet_recording.cli import main

main()
