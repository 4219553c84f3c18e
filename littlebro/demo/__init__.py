"""The demo: a small Django shop, visitors who use it over real HTTP, and the events they leave behind.

`settings`, `urls`, `views`, `catalogue` and `wsgi` are the shop: an ordinary Django project that knows littlebro
by its public names and by the names in its settings. `visitors` knows only HTTP. `runner` puts the two together:
`python -m littlebro demo`. Nothing outside this package may import it.
"""
