"""Commands and loops: the only places that change state."""
