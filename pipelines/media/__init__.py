"""The doors to decoders, demuxers and encoders: what comes in through them speaks `MediaError`, PTS and
numpy."""
