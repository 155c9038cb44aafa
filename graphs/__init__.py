"""The graphs that come with rxpipe."""
