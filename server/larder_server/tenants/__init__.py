"""Tenants: the unit of isolation, its users, and the tokens by which they ask."""
