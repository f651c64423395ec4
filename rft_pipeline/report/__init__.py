"""Pages: eval report, judge audit, promotion and model card, each one file with its plots."""
