"""The program on the Raspberry Pi: measures every socket of a home and sends one small message a minute.

sensors → sampling (means over the minute) → outbox (on disk) → publisher → the shard's stream; `live` answers signed
commands with a reading a second; `link` keeps the one connection that both use.
"""
