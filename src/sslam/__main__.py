"""``python -m sslam``: the command line."""

import sys

from sslam.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
