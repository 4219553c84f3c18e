"""What is kept for everyone who sees the dashboard: views under a name, annotations of the charts.

In: a form, by POST, of a user who may manage them. Out: rows of `SavedView` and `Annotation`, and where to go next.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404

from littlebro.dashboard.pages import PAGES
from littlebro.models import Annotation, SavedView

__all__ = ["annotate", "forget_view", "save_view", "unannotate"]

_LONGEST: Final = 10_000  # characters of a query string


class ViewForm(forms.Form):
    """A name for a page and what is asked on it."""

    name = forms.CharField(max_length=100)
    page = forms.ChoiceField(choices=[(slug, slug) for slug in PAGES])
    query = forms.CharField(max_length=_LONGEST, required=False, strip=False)


class NoteForm(forms.Form):
    """What happened, and when: a moment in the current time zone."""

    text = forms.CharField(max_length=200)
    at = forms.DateTimeField()

    def clean_at(self) -> datetime:
        """Complain about a moment that no calendar, or none of another zone, has."""
        at: datetime = self.cleaned_data["at"]
        if not 1 < at.year < 9999:
            raise forms.ValidationError("This is no year that an event can be of.")
        return at


def save_view(request: HttpRequest, back: str) -> HttpResponse:
    """Keep the page under its name; another one of that name is replaced."""
    form = ViewForm(request.POST)
    if not form.is_valid():
        return _refused(request, form, back)
    given = form.cleaned_data
    kept = {"page": given["page"], "query": given["query"], "author": _author(request)}
    SavedView.objects.update_or_create(name=given["name"], defaults=kept)
    messages.success(request, f"Saved as “{given['name']}”.")
    return HttpResponseRedirect(back)


def forget_view(request: HttpRequest, key: int, back: str) -> HttpResponse:
    """Delete a saved view."""
    view = get_object_or_404(SavedView, pk=key)
    view.delete()
    messages.success(request, f"The view “{view.name}” is deleted.")
    return HttpResponseRedirect(back)


def annotate(request: HttpRequest, back: str) -> HttpResponse:
    """Keep an annotation."""
    form = NoteForm(request.POST)
    if not form.is_valid():
        return _refused(request, form, back)
    Annotation.objects.create(**form.cleaned_data, author=_author(request))
    messages.success(request, "The annotation is in the charts.")
    return HttpResponseRedirect(back)


def unannotate(request: HttpRequest, key: int, back: str) -> HttpResponse:
    """Delete an annotation."""
    get_object_or_404(Annotation, pk=key).delete()
    messages.success(request, "The annotation is deleted.")
    return HttpResponseRedirect(back)


def _author(request: HttpRequest) -> str:
    return str(request.user.get_username())[:200]  # what a site of its own logs in by may be a number


def _refused(request: HttpRequest, form: Any, back: str) -> HttpResponse:
    said = " ".join(f"{name}: {' '.join(errors)}" for name, errors in form.errors.items())
    messages.error(request, f"Nothing was saved. {said}")
    return HttpResponseRedirect(back)
