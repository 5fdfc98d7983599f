"""What two stages or more train in the same way."""
