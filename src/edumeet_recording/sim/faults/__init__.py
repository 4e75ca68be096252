"""Faults: the whole service as processes on this machine, what can be done to them, and what must hold after it."""
