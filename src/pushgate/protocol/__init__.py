"""What a Pushgateway's HTTP API says: families, grouping keys, bodies, groups."""
