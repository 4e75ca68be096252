"""The orchestrator's composition root."""
