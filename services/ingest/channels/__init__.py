"""Where messages come from: one file for each channel, all ending in `Intake.accept`."""
