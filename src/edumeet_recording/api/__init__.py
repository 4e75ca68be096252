"""HTTP, WebSocket and links: the edge where input is checked."""
