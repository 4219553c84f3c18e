"""A Django project of four files, for the processes and servers of the trials."""
