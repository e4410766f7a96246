"""What starts actions without a person: so far the event doors, which CloudEvents from outside come through."""
