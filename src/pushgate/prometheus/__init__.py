"""For Prometheus and Grafana: a scrape configuration, alert rules and a dashboard.

``queries`` has the verdicts of ``jobs/health.py`` in PromQL. ``alerts`` and ``rules`` make a rule
file of them, ``panels`` and ``dashboard`` a Grafana dashboard.
"""
