"""Measurements: each figure of Larder stands beside a peer or a limit that was measured in the same run."""
