"""Pages of a small site for the tests of decorator and middleware: sync, async, class-based, failing."""

from collections.abc import Iterator

from django.contrib.auth import get_user_model, login, logout
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from littlebro.decorators import track_event
from littlebro.delivery.handler import trackers

PROBLEMS: dict[str, type[Exception]] = {
    "missing": Http404,
    "forbidden": PermissionDenied,
    "bad": BadRequest,
    "bug": ZeroDivisionError,
}


def what_was_ordered(request: HttpRequest, response: HttpResponse | None, number: int) -> dict[str, object]:
    return {"number": number, "answered": response is not None, "asked": request.GET.get("with")}


def front(request: HttpRequest) -> HttpResponse:
    return HttpResponse("front")


@csrf_exempt
@track_event("order-seen", params=what_was_ordered)
def order(request: HttpRequest, number: int) -> HttpResponse:
    """Show an order."""
    return HttpResponse("order", status=201)


@track_event("order-seen", params=what_was_ordered)
async def aorder(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse("order", status=201)


@method_decorator(track_event("basket"), name="dispatch")
class Basket(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("basket")

    @method_decorator(track_event("basket-filled", params={"by": "method"}))
    def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("filled", status=202)

    @track_event("basket-emptied")
    def delete(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("empty")


@method_decorator(track_event("basket"), name="dispatch")
class AsyncBasket(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("basket")

    async def post(self, request: HttpRequest) -> HttpResponse:
        raise ZeroDivisionError


class AsyncPlain(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("plain")


def me(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.user))


@track_event("my-order")
def my_order(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.user))


def log_in(request: HttpRequest) -> HttpResponse:
    user, _ = get_user_model().objects.get_or_create(username="ada")
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse("hello")


def log_out(request: HttpRequest) -> HttpResponse:
    str(request.user)
    logout(request)
    return HttpResponse("bye")


@track_event("broken")
def broken(request: HttpRequest) -> HttpResponse:
    raise PROBLEMS[request.GET.get("how", "bug")]("no good")


@track_event("broken")
async def abroken(request: HttpRequest) -> HttpResponse:
    raise PROBLEMS[request.GET.get("how", "bug")]("no good")


def missing(request: HttpRequest) -> HttpResponse:
    raise Http404


def _letters() -> Iterator[bytes]:
    yield from (b"a", b"b")


@track_event("streamed")
def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(_letters())


def inner(request: HttpRequest, name: str = "") -> HttpResponse:
    """Track by the plain call, which knows the request from the ambient context alone."""
    trackers["default"].track_event("inner", {"name": name})
    return HttpResponse("inner")


def free(request: HttpRequest, rest: str) -> HttpResponse:
    return HttpResponse("free")
