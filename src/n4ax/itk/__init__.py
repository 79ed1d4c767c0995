"""What exists for ITK's last bit: where an image lies in space, and how ITK rounds."""
