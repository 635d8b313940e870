"""The pages; a package only so that a wheel carries them."""
