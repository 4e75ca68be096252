"""A room server that is not there: real encoders, real RTP, the room server contract, and the judge of the files."""
