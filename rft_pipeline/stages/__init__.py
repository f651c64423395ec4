"""The six stages, one public function each. They take plain values and know nothing of records, Dagster or MLflow."""
