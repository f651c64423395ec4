"""Suggestions: another wording of one criterion, chosen on half of the labels and decided by an audit on the others."""
