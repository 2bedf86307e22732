"""Pictures for many at once: an engine over lanes, jobs that survive a crash, OpenAI's API in front of both."""
