"""How banks are built: packages fetched, their models, drawings and clips cut to views, words put beside them."""
