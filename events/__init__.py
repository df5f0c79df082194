"""The contract between the parts: one inference event, its codec, its headers, its topics.

A leaf: nothing here imports another package of shadowdrift. Events live for 90 days, so what is written here is read
by versions of the code that do not exist yet; docs/events.md tells the format to people.
"""
