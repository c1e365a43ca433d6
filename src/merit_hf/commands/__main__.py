"""`python -m merit_hf.commands NAME ...`: the command line where the script `merit` is not on the path."""

from .main import main

if __name__ == "__main__":
    main()
