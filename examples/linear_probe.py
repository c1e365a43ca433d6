"""Linear probe of a frozen encoder at shares of the labels, beside untrained encoders, to JSON and a table.

Launches `merit linear-probe`, whose --help explains it.
"""

from merit_hf.commands import run

if __name__ == "__main__":
    run("linear-probe")
