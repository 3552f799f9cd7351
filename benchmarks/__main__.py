"""`python -m benchmarks`: kzoo beside other libraries, see docs/speed.md."""

import signal
import sys

from benchmarks.suite.command import main

STOPPED = 130  # exit code of what Ctrl-C ended

if __name__ == "__main__":
    # ended from outside as by Ctrl-C: its processes end too, and its folders go
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("stopped; the cases before this one are in the folder of the results", file=sys.stderr)
        sys.exit(STOPPED)
