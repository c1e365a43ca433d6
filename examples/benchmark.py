"""Put models through the protocols on every corpus and task, beside baselines, into one folder of tables and pictures.

Launches `merit benchmark`, whose --help explains it.
"""

from merit_hf.commands import run

if __name__ == "__main__":
    run("benchmark")
