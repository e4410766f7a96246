"""What every slice stands on: context, transactions, outbox, routing, actions, clock, object bytes. Not a word of MLOps."""
