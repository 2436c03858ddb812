"""Programs that measure by the clock."""
