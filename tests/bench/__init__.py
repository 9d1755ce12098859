"""Benchmarks: ratios within one run, interleaved, on a real disk. `make bench` prints them."""
