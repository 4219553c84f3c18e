"""Faults, brought about for real: processes killed, databases stopped, disks filled, folders deleted.

`harness` holds the world of one trial and the comparison of its ledger with what is stored, `child` the
programs that run in processes of their own, `site` the small project they belong to, `outages` what is broken
and mended. `python -m tests.faults` measures what callers feel of it and prints a table.
"""
