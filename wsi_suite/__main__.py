"""The command line, as ``python -m wsi_suite``."""

from wsi_suite.cli import main

if __name__ == "__main__":  # a worker process that is spawned imports this file again
    main()
