"""What holds for trees of entries, names, packs and what is blind. Pure."""
