"""Figures for people, not tests: what a store, a worker, or the whole of queuekit costs on this machine."""
