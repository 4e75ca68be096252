"""Shape tests read the tree of the project itself."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def root() -> Path:
    """Root of the repository."""
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def package(root: Path) -> Path:
    """Root of the package's sources."""
    return root / "src" / "edumeet_recording"
