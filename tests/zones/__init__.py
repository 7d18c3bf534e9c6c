"""Cron rules over changed clocks, against a walk of every minute that knows neither cronsim nor zoneinfo."""
