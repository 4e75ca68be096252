"""A fleet that records nothing: nodes and room servers that speak the wire, for a real orchestrator, through a day."""
