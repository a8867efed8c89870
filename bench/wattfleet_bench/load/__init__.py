"""The load generator: real agents with simulated sensors, many to a process.

Each agent is the one that runs at home: its own outbox in SQLite on disk, its own credential and connection, its own
publisher, recorder and send phase. What is not as at home:

* Sensors are read once a minute instead of 60 times, through the same means, and all homes vary one simulated home:
  measuring 30 simulated sockets every second would cost 70 ms of CPU per home and minute and tell the platform nothing.
* A home is read at its send phase, so that homes that share a disk do not all write at the end of the minute.
* Agents share CPU and disk: what one waits for another's write to the disk is part of the latencies.
* Live commands are not answered.

With --interval S a minute takes S seconds. 60 is real time. With less, agents live through consecutive minutes of the
past month, so readings stay aligned to whole minutes and the platform gets 60/S times the messages of as many homes;
phases shrink alike. The rate is then real, the age of what is sent is not.

Agents ramp up: the delays from --min-delay to --max-delay are cut into sub-ranges of --step, later sub-ranges start
more agents, and within one each agent's delay is random.
"""
