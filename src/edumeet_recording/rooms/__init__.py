"""How a room server is told to forward a peer's RTP: over HTTP or over its link."""
