"""What becomes of errors: which may pass, when something is tried again, and what is kept of what was rejected."""
