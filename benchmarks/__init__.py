"""Measurements of littlebro beside what users would pick instead, and beside the limit of the machine.

`python -m benchmarks` runs them; a figure counts only beside those of the same run, so each prints ratios
and holds them against the bounds that the project promises.
"""
