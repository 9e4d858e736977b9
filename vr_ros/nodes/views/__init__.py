"""Results for eyes and for other packages: overlay, labels, markers, mirrors, frames."""
