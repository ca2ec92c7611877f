"""Airflow's part of ``pushgate demo``."""
