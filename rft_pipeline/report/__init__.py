"""Pages: eval report, judge audit and promotion, each one HTML file with its plots; the model card in Markdown."""
