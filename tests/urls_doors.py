"""The routes of the pages in `tests.views_doors`."""

from django.urls import path, re_path

from littlebro.decorators import track_event
from tests import views_doors as views

urlpatterns = [
    path("", views.front, name="front"),
    path("order/<int:number>/", views.order, name="order"),
    path("aorder/<int:number>/", views.aorder, name="aorder"),
    path("basket/", views.Basket.as_view(), name="basket"),
    path("abasket/", views.AsyncBasket.as_view(), name="abasket"),
    path("wrapped/", track_event("wrapped")(views.AsyncPlain.as_view()), name="wrapped"),
    path("me/", views.me, name="me"),
    path("my-order/", views.my_order, name="my-order"),
    path("log-in/", views.log_in, name="log-in"),
    path("log-out/", views.log_out, name="log-out"),
    path("broken/", views.broken, name="broken"),
    path("abroken/", views.abroken, name="abroken"),
    path("missing/", views.missing, name="missing"),
    path("stream/", views.stream, name="stream"),
    path("inner/", views.inner, name="inner"),
    path("static/<path:name>", views.inner, name="static"),
    re_path(r"^free/(?P<rest>.*)$", views.free, name="free"),
]
