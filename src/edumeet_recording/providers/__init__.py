"""Where the autoscaler gets FFmpeg nodes from, and gives them back to."""
