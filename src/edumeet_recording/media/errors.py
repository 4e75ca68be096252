"""The one error of media that does not parse: hostile or broken bytes raise it, and nothing else."""


class MediaError(ValueError):
    """The bytes are not what their format says they should be."""
