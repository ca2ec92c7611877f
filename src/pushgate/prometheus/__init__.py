"""What Prometheus and Grafana are given: a scrape configuration, alert rules and a dashboard.

``queries`` says in PromQL what ``pushgate.jobs.health`` says in Python; ``alerts`` and ``rules``
make a rule file of it, ``panels`` and ``dashboard`` a Grafana dashboard.
"""
