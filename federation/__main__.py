"""`python -m federation` is `fedgate`, for where the script is not on the path."""

import sys

from federation.cli import main

if __name__ == "__main__":
    sys.exit(main())
