"""Two pages: `/track?n=5` tracks five events and enters them in the ledger, `/pid` says who answers."""

import os

from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.faults.child import track


def track_some(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(sum(track("page") for _ in range(int(request.GET["n"])))))


async def atrack_some(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(sum(track("page") for _ in range(int(request.GET["n"])))))


def pid(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(os.getpid()))


urlpatterns = [path("track", track_some), path("atrack", atrack_some), path("pid", pid)]
