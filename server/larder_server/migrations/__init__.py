"""Database migrations, applied by `larder up`; nothing here imports a slice, so that an old revision never changes."""
