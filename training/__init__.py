"""Offline: the bandstand, weak supervision, training, evaluation and benchmarks."""
