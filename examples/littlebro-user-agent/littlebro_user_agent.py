"""Add to each event what its user agent says: ``browser``, ``browser_version``, ``os`` and ``device``.

Runs where events are delivered, not where they are tracked: a user agent that was not seen before takes some
milliseconds to make out. ua-parser keeps those it has seen.
"""

from ua_parser import parse

from littlebro import hookimpl

littlebro_api = 1


@hookimpl
def littlebro_enrich_stored(event):
    text = event.context.get("user_agent")
    if not isinstance(text, str):
        return None
    found = parse(text)
    facts = {
        "browser": found.user_agent and found.user_agent.family,
        "browser_version": found.user_agent and found.user_agent.major,
        "os": found.os and found.os.family,
        "device": found.device and found.device.family,
    }
    return {name: value for name, value in facts.items() if value}
