"""Makes the long run known to pytest before it chooses: `--hypothesis-profile nightly`."""

from tests.hostile import strategies as strategies
