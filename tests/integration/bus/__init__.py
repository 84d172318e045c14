"""The bus against a real broker and a real database."""
