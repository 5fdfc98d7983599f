"""Holds the recipes of training that two or more stages share."""
