"""The published design rebuilt on this machine: RabbitMQ, a consumer that acknowledges by hand, InfluxDB.

Both designs get the messages that ours gets, byte for byte, from a publisher that costs them next to nothing; they run
on the versions that Debian packages, with the durability that the published project wanted (a durable queue,
persistent messages, confirms, an acknowledgement only after the store's answer).
"""
