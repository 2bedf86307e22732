"""Benchmarks that are lists of prompts: GenEval, DPG-Bench, MJHQ-30K."""
