"""What media is: RTP, tape, frames, clocks; pure, bytes in and values out."""
