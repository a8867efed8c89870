"""Kills under load, and whether anything that was sent is missing, doubled or changed afterwards.

A whole data plane of real processes with production settings runs on this machine: broker, store, ingest, writer, and
real agents in processes of their own. One part after the other is killed with SIGKILL at random moments, every sixth
time all of them at once, and sometimes again while it recovers; each is started again at once, as a supervisor would.
Agents send all the time, and a home with wrong readings does so too.

At the end agents send what they have left, the writer finishes, and everything is killed once more. Then the store
alone is started, and every sample it gives out is compared with what the agents' outboxes hold: `lost` is what was sent
and is not there, `doubled` what is there twice at one moment, `changed` what is there with another value than was sent,
or of which nothing was sent. The ledger must balance with nothing pending, and the quarantine must hold the wrong
readings, each with its reason, and nothing else.
"""
