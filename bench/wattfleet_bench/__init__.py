"""The pipeline measured: the ladder, the published design beside it, real agents as load, and kills under load."""
