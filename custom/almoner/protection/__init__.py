"""What all protections share: interfaces, signatures, the agreement on keys between the sites of a job."""
