"""All benchmarks: ``python -m tests.bench``."""

from __future__ import annotations

from . import cold, help_text, no_change

if __name__ == "__main__":
    help_text.main()
    no_change.main([])
    cold.main([])
