"""Families of distributions, one file each."""
