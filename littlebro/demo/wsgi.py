"""What the server serves: the shop, with its style sheets and pictures from the same process.

`StaticFilesHandler` answers for /static/ before Django's middleware, so a picture is never a `page-accessed`.
Good enough for one machine and one demo; a real site has a web server in front.
"""

from __future__ import annotations

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

__all__ = ["application"]

application = StaticFilesHandler(get_wsgi_application())
