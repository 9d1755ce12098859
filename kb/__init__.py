"""The knowledge base, read as package data: `importlib.resources.files("kb")`."""
