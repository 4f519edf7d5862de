"""How many examples Hypothesis tries: few and always the same in `make test`, many when asked."""

import os

from hypothesis import settings

# Always the same examples: a test that fails does so on every run, and for everybody.
settings.register_profile("short", derandomize=True, deadline=None, max_examples=100)
settings.register_profile("long", deadline=None, max_examples=5000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))
