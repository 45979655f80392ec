"""How often comparisons find an effect that is there, and call one real that is not: `python -m tests.app.findings.rates`.

Each line is 200 simulated experiments of workflows whose times differ by orders of magnitude, with a spread of heavy tails.
"""

from __future__ import annotations

import sys

from app.findings.statistics import paired_ratio, stratified_ratio
from tests.app.findings.test_statistics import SEEDS, groups, pairs, rate


def main() -> None:
    """Print a line for each way of comparing, number of pairs or runs, and planted ratio."""
    write = sys.stdout.write
    write(f"{'compared':<10} {'n':>4} {'planted ratio':>13}   lower  higher  of {SEEDS}\n")
    for n in (6, 12, 24, 48):
        for effect in (1.0, 0.9, 0.8):
            found = [rate(lambda seed, n=n, e=effect: paired_ratio(pairs(seed, e, n)), d) for d in ("lower", "higher")]
            write(f"{'pairs':<10} {n:>4} {effect:>13}   {found[0]:5.1%}  {found[1]:6.1%}\n")
    for n in (60, 120, 240):
        for effect in (1.0, 0.9, 0.8):
            found = [
                rate(lambda seed, n=n, e=effect: stratified_ratio(groups(seed, e, n)), d) for d in ("lower", "higher")
            ]
            write(f"{'strata':<10} {n:>4} {effect:>13}   {found[0]:5.1%}  {found[1]:6.1%}\n")


if __name__ == "__main__":
    main()
