"""What the person or agent wants, from any device."""
