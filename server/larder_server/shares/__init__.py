"""Shares: signed addresses that open one run, one comparison or one view to whoever holds them."""
