"""The FFmpeg node: captures RTP to tape, ships it, finalizes it."""
