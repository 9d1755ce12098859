"""What it all means: pure rules of trading, standard library only."""
