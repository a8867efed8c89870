"""What a home, a writer, a reader and the gateway can do at a real broker, and what they cannot."""

import json

from wattfleet_tenants import subjects
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.testing.builders import message
from wattfleet_tenants.testing.nats_server import ShardBroker


async def test_a_reading_is_taken_and_confirmed_to_its_sender(broker: ShardBroker, household: HouseholdId) -> None:
    async with broker.agent(household) as agent:
        answer = await agent.request(subjects.measurements(broker.shard, household), message(), timeout=5)
    assert json.loads(answer.data) == {"stream": subjects.measurement_stream(broker.shard), "seq": 1}
    assert await broker.pending() == 1
