"""How examples are changed as an experiment could have changed them."""
