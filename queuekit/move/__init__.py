"""Moving jobs between stores: live, through files, verified. Reads and writes through the seam only."""
