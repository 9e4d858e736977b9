"""The demo: what is asked, by whom, and what it leaves behind."""
