"""How sure a model is of what it found: answers with all features, their fusion, and its worth."""
