"""An ``async def`` hook: calling it would give a coroutine that nobody awaits."""
# mypy: ignore-errors

from littlebro import hookimpl


@hookimpl
async def littlebro_drop_event(alias, event, request):
    return "never"
