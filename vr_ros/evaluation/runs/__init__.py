"""One run: who answers, in how many processes, and what is kept of it."""
