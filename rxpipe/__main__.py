"""`python -m rxpipe`: the command line."""

import sys

from rxpipe.cli import main

if __name__ == "__main__":
    sys.exit(main())
