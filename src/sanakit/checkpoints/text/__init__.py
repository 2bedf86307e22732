"""Text encoders in files: language models of transformers and their tokenizers."""
