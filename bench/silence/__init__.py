"""How quiet the alerts are: a day of traffic without drift, and an hour of drift that comes and goes, in minutes."""
