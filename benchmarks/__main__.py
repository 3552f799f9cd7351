"""`python -m benchmarks`: kzoo beside other libraries, see docs/speed.md."""

import sys

from benchmarks.suite.command import main

if __name__ == "__main__":
    sys.exit(main())
