"""`python -m magicanimate`."""

from magicanimate.cli import main

if __name__ == "__main__":
    main()
