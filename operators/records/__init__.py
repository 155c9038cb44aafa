"""Make, change and pick records."""
