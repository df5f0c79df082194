"""Pure functions of counts and arrays: how far two samples lie apart, and how much that means."""
