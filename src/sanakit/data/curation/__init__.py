"""Pictures in, shards out: filters, near-duplicates, captioners side by side, scores, and every sample's lineage."""
