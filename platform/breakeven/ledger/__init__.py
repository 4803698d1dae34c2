"""What has been done and what it cost: records, claims, leases, reservations, and what networks said. Knows no study."""
