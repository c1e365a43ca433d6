"""How long `import merit_hf` takes, as a ratio to `import transformers.pipelines`, each in fresh processes in turn.

Registering the pipelines needs the second, so a ratio of 1 is the least possible; the promise is at most 1.1.
"""

import argparse
import statistics
import subprocess
import sys

TIMED = "import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"


def import_seconds(module: str) -> float:
    """Seconds that one fresh process needs to import `module`."""
    command = [sys.executable, "-c", TIMED.format(module=module)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="pairs of processes, after one unmeasured")
    repeats = parser.parse_args().repeats
    pairs = [(import_seconds("transformers.pipelines"), import_seconds("merit_hf")) for _ in range(repeats + 1)][1:]
    reference, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"import transformers.pipelines  {reference:6.2f} s   (median of {repeats})")
    print(f"import merit_hf                {ours:6.2f} s")
    print(f"ratio                          {ours / reference:6.2f}     (at most 1.10)")


if __name__ == "__main__":
    main()
