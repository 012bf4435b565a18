"""The run: one conversation per host, gates between them, one decision before anything is stopped."""
