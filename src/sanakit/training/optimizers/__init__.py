"""Optimisers: what a recipe can name (``config``), how they are built (``build``), and CAME itself (``came``)."""
