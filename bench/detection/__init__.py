"""How soon drift is seen, and how often it is seen where there is none: our levels and early warning beside peers."""
