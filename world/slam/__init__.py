"""From frames to map updates: geometry estimators, masks, alignment."""
