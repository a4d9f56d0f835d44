"""The world file, imports and exports."""
