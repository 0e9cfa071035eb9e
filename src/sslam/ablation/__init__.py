"""What each part of the method is worth: the same stage-1 weights trained on in several ways."""
