"""Join streams and look into them."""
