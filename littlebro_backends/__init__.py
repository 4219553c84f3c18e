"""The backends that come with littlebro, one module each; the core knows them by their entry points alone."""
