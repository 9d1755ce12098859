"""What we remember: all the SQL, one module per area."""
