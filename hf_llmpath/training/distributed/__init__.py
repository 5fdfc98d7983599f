"""Several processes: launchers, sharding, and how a group of processes stops together."""
