"""What a bag holds, examined: its answers of then, or those of a model that is asked again."""
