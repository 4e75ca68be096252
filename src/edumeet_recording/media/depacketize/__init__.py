"""RTP payloads to frames, one module a codec."""
