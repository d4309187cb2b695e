"""`make check-monitoring`: dashboards, rules and metrics, checked with the programs they are for."""
