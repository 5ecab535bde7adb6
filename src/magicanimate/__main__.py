"""`python -m magicanimate`."""

from magicanimate.cli.main import main

if __name__ == "__main__":
    main()
