"""What crosses a process boundary: one frozen type a message."""
