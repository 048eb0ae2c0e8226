"""What is on disk: plan, lock, manifest, proof and their parts. Documents, no steps."""
