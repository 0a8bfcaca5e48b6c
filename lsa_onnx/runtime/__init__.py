"""Running models: devices, sessions, batches, and the scoring session itself."""
