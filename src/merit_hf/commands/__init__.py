"""The command line `merit NAME ...`: one file a command, a folder for those that have commands of their own.

A command is a module with a docstring, which `--help` shows, and a function `main(arguments)`, whose annotation is the
dataclass of its arguments. `main.py` lists the commands and starts them; `examples/` and `dataset_scripts/` launch the
same ones. What commands do lives in the rooms they call, not here.
"""

from .main import module_words, run

__all__ = ["module_words", "run"]
