"""The tests, by part; `tests.support` is what they share."""
