"""From the first drifted request to the stable model and to Slack, stage by stage, with the shipped rules and timings.

`python -m bench.chain --rates 1 10 100 1000`. Our parts run as `shadowdrift up` runs them, before a real Kafka, beside
a real Prometheus and Alertmanager with their shipped intervals, rules and routes, and a stand-in Slack. What took how
long is read where it happened: from the evidence, Prometheus' own samples, Alertmanager's log, the rollback's audit log
and the models, not from when somebody looked.
"""
