"""Sigma schedules, solvers and guidance; a network is just a function here."""
