"""What fedgate costs, beside what else could stand in its place: `make bench`, see `bench.run`."""

import os

# Programs are started while gRPC serves; it has nothing to do with that, and says so each time.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
