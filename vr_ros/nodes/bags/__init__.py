"""Recording what a robot saw and was asked, and playing it back."""
