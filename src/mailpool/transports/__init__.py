"""The ways out, one file each, behind one small protocol."""
