"""What n4ax does not do with files from elsewhere, and which test shows it."""
