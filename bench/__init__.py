"""What fedgate costs, beside what else could stand in its place: `make bench`, see `bench.run`."""
