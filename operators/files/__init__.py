"""Watch files and read what is new in them."""
