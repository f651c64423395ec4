"""The report page: an eval report as one HTML file, with its plots."""
