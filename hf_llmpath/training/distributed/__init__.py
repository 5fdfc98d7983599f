"""Trains in several processes: launchers, sharding, and how a group of processes stops together."""
