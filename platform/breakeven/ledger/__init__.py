"""What has been done and what it cost: records, claims, leases, reservations, kept representations and scores. Knows no study."""
