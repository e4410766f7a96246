"""The words client and server share: frozen data, endpoints, errors. No I/O, nothing of ours imported."""
