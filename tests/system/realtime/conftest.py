"""What sends media as a meeting does, and judges the file by the millisecond: on a machine that has time to spare."""
