"""Ready projects for retail use cases on Larder, and the demonstration; they know the SDK only."""
