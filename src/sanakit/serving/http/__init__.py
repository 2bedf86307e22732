"""OpenAI's images API, and ours beside it, over a `sanakit.serving.service.Service`."""
