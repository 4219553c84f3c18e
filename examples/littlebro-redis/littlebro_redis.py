"""Keep events in Redis: LOCATION is its URL, ``redis://localhost:6379/0``.

A hash holds each event by (collection, id), a sorted set their order of reading.
"""

from datetime import UTC
from itertools import islice

import redis

from littlebro.events.event import decode, encode
from littlebro.exceptions import EventRefused
from littlebro.storage import BaseBackend, SaveResult

# A script is all or nothing, so that an event is never in the hash and missing in the order.
SAVE = """
local new = 0
for i = 1, #ARGV, 3 do
  if redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 2]) == 1 then
    new = new + redis.call('ZADD', KEYS[2], 0, ARGV[i + 1])
  end
end
return new"""


def stamp(moment):
    """Return a moment as text that sorts as moments do."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds").encode()


def place(timestamp, event_id, collection):
    """Return a position as text that sorts as positions do: ids hold no NUL, and UTF-8 sorts by code point."""
    return b"\0".join([stamp(timestamp), event_id.encode(), collection.encode()])


class Backend(BaseBackend):
    option_defaults = {"PREFIX": "{littlebro}", "TIMEOUT": 5.0}
    supports_delete = True

    def __init__(self, alias, location, options):
        super().__init__(alias, location, options)
        self.redis = redis.Redis.from_url(
            location, socket_timeout=options["TIMEOUT"]
        )  # connects at first use
        self.events, self.order = (f"{options['PREFIX']}:{name}" for name in ("events", "order"))
        self.save = self.redis.register_script(SAVE)

    def save_many(self, events):
        try:
            rows = [(f"{e.collection}\0{e.id}".encode(), place(*e.position), encode(e)) for e in events]
        except UnicodeEncodeError as error:
            raise EventRefused(f"a text cannot be encoded: {error.reason}") from error
        new = self.save([self.events, self.order], [value for row in rows for value in row])
        return SaveResult(stored=new, duplicates=len(rows) - new)

    def scan(self, query, after=None):
        low = b"[" + stamp(query.start) if query.start else b"-"
        high = b"(" + stamp(query.end) if query.end else b"+"
        ends = [high, low] if query.newest_first else [low, high]
        if after:
            ends[0] = b"(" + place(*after)
        while places := self.redis.zrange(
            self.order, *ends, query.newest_first, bylex=True, offset=0, num=500
        ):
            lines = self.redis.hmget(self.events, [b"\0".join(item.split(b"\0")[:0:-1]) for item in places])
            yield from (decode(line) for line in lines if line)
            ends[0] = b"(" + places[-1]

    def delete_many(self, query):
        found = (event for event in self.scan(query) if query.matches(event))
        deleted = 0
        while events := list(islice(found, 500)):
            with self.redis.pipeline(transaction=True) as pipe:
                pipe.hdel(self.events, *[f"{event.collection}\0{event.id}" for event in events])
                pipe.zrem(self.order, *[place(*event.position) for event in events])
                deleted += pipe.execute()[0]
        return deleted

    def ping(self):
        self.redis.ping()

    def close(self):
        self.redis.close()
