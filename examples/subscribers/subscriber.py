"""Prints a line for each execution that has ended.

    python3 -m venv venv
    venv/bin/pip install --require-hashes -r requirements.txt
    patchwave events subscribe ends 'ev.execution.*.completed' --from 1 --json >ends.json
    venv/bin/python subscriber.py ends.json

It remembers nothing: its durable consumer does. Killed at any moment and started again, it misses no event; one may
come twice, and has the same id then. docs/subscribing.md says more.
"""

import asyncio
import json
import sys

import nats
from nats.errors import TimeoutError

# A question that a broker took with it is asked again after this long.
WAIT_SECONDS = 5


async def follow(subscription):
    client = await nats.connect(
        subscription["url"],
        user=subscription["user"],
        password=subscription["password"],
        inbox_prefix=subscription["inbox_prefix"],
        max_reconnect_attempts=-1,
    )
    jetstream = client.jetstream(prefix=subscription["api_prefix"])
    events = await jetstream.pull_subscribe_bind(consumer=subscription["consumer"], stream=subscription["stream"])
    while True:
        try:
            [message] = await events.fetch(1, timeout=WAIT_SECONDS)
        except TimeoutError:
            # Nothing happened, or the broker is away: the client connects again by itself.
            continue
        print(line(message), flush=True)
        # Only now: what is acknowledged never comes again.
        await message.ack()


def line(message):
    """The event's id, its place in the log, which execution ended, and how."""
    headers = message.headers
    kind, version = headers["ce-type"], headers["ce-dataversion"]
    if (kind, version) != ("execution.completed", "1"):
        # A later version of Patchwave wrote it: better to stop and be brought up to date than to guess or to pass it over.
        sys.exit(f"this subscriber does not know {kind} of version {version}")
    event = json.loads(message.data)
    return f"{headers['ce-id']} {message.metadata.sequence.stream} {headers['ce-source']} {event['outcome']}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: subscriber.py SUBSCRIPTION.json")
    with open(sys.argv[1]) as file:
        asyncio.run(follow(json.load(file)))
