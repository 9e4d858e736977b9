"""How difficult rows are: answers sampled from a model, scored, and the rows sorted by them."""
