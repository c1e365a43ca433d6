"""How long imports take, as ratios to `import transformers.pipelines`, each in fresh processes in turn.

`import merit_hf` alone loads neither transformers nor torch. With transformers' pipelines it registers MERIT there and
may add at most a tenth to their time.
"""

import argparse
import statistics
import subprocess
import sys

TIMED = "import time; start = time.perf_counter(); import {modules}; print(time.perf_counter() - start)"
REFERENCE = "transformers.pipelines"
OURS = {"merit_hf": 0.1, "merit_hf, transformers.pipelines": 1.1}  # -> the most that the ratio may be


def import_seconds(modules: str) -> float:
    """Seconds that one fresh process needs to import `modules`."""
    command = [sys.executable, "-c", TIMED.format(modules=modules)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="rounds of processes, after one unmeasured")
    repeats = parser.parse_args().repeats
    rounds = [[import_seconds(modules) for modules in (REFERENCE, *OURS)] for _ in range(repeats + 1)][1:]
    reference, *ours = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"import {REFERENCE:<34} {reference:6.2f} s   (median of {repeats})")
    for (modules, most), seconds in zip(OURS.items(), ours, strict=True):
        print(f"import {modules:<34} {seconds:6.2f} s   ratio {seconds / reference:.2f} (at most {most:.2f})")


if __name__ == "__main__":
    main()
