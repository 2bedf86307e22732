"""Lists of prompts, drawn and scored: GenEval, DPG-Bench, MJHQ-30K, the starter's own."""
