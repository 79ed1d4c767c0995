"""Quality reports of a folder of corrected scans: numbers, pictures and pages."""
