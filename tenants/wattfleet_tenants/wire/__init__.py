"""The wire: one protobuf message per household and minute, decoded by the thousand."""
