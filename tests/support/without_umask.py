"""The real command line in a process without a umask, as some containers and shells start it."""

import os

from interface import main

os.umask(0)

if __name__ == "__main__":
    main.main()
