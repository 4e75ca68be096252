"""eduMEET Recording Orchestrator: records video conferences and never loses a lecture."""
