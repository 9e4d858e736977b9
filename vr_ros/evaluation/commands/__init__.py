"""What ``evaluate`` can be told to do, one module per word: its options, and what it runs."""
