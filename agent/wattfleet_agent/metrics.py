"""What the agent counts; served on its health port when one is given."""

from prometheus_client import Counter, Gauge

RECORDED = Counter("wattfleet_agent_recorded_total", "Minutes put into the outbox")
PUBLISHED = Counter("wattfleet_agent_published_total", "Messages sent, repeated ones included")
ACKNOWLEDGED = Counter("wattfleet_agent_acknowledged_total", "Messages that the platform holds")
REFUSED = Counter("wattfleet_agent_refused_total", "Messages sent and not acknowledged, by reason", ["reason"])
NOT_RECORDED = Counter("wattfleet_agent_not_recorded_total", "Minutes that the outbox did not take", ["reason"])
WITHDRAWN = Counter("wattfleet_agent_withdrawn_total", "Minutes dropped because a wrong clock had stamped them")
SENSOR_FAILURES = Counter("wattfleet_agent_sensor_failures_total", "Seconds in which the sensor failed")
OUTBOX_WAITING = Gauge("wattfleet_agent_outbox_waiting", "Messages that are not acknowledged yet")
OUTBOX_KEPT = Gauge("wattfleet_agent_outbox_kept", "Acknowledged messages that are kept in case they are asked for")
OUTBOX_OLDEST_S = Gauge("wattfleet_agent_outbox_oldest_age_seconds", "Age of the oldest waiting minute, 0 when none")
CONNECTED = Gauge("wattfleet_agent_connected", "1 while there is a connection to the platform")
LIVE_SENT = Counter("wattfleet_agent_live_sent_total", "Live readings sent")
LIVE_LEASES = Gauge("wattfleet_agent_live_leases", "Live leases that are being answered")
BAD_COMMANDS = Counter("wattfleet_agent_bad_commands_total", "Commands that were not obeyed, by reason", ["reason"])
CATCH_UP_TOTAL = Gauge("wattfleet_agent_catch_up_total", "Minutes of history or replay to send in this run")
CATCH_UP_REMAINING = Gauge("wattfleet_agent_catch_up_remaining", "Of those, minutes not acknowledged yet")
