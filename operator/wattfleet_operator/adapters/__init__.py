"""The operator's doors on one machine: a nats-server, VictoriaMetrics, processes and folders."""
