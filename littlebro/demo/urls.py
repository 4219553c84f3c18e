"""The addresses of the shop's pages."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.templatetags.static import static
from django.urls import path
from django.views.generic import RedirectView

from littlebro.demo import views

urlpatterns = [
    path("", views.front, name="front"),
    path("category/<slug:slug>/", views.category, name="category"),
    path("product/<slug:slug>/", views.product, name="product"),
    path("search/", views.search, name="search"),
    path("basket/", views.basket, name="basket"),
    path("basket/add/<slug:slug>/", views.basket_add, name="basket-add"),
    path("basket/remove/<slug:slug>/", views.basket_remove, name="basket-remove"),
    path("checkout/", views.checkout, name="checkout"),
    path("thanks/<slug:order>/", views.thanks, name="thanks"),
    path("log-in/", views.LogIn.as_view(), name="log-in"),
    path("log-out/", LogoutView.as_view(), name="log-out"),
    path("favicon.ico", RedirectView.as_view(url=static("shop/icon.svg"))),  # the admin's pages name none
    path("admin/", admin.site.urls),
]
