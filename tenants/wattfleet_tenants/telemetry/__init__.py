"""What every process tells about itself: JSON logs, metrics, health."""
