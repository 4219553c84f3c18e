"""The reports, one file each: parameters, SQL, result, and a docstring with the rules."""
