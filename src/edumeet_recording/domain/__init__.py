"""What we decide: pure values and policies, no I/O, no clock, no randomness."""
