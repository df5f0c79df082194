"""From Kafka to the windows, and what is written back: events, rejected messages, the state that outlives us."""
