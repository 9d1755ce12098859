"""`python -m tests.fuzz --soak [--count N] [--only WORDS]`."""

import sys

from tests.properties.running import soak

if __name__ == "__main__":
    sys.exit(soak("fuzz", __file__))
