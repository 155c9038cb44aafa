"""Where data goes: the terminal, files, databases, functions."""
