"""Simulated room servers with real encoders, and the analysis of what was recorded."""
