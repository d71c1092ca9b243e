"""Official files of public data sets in, photos with labelled people out; and those to training records."""
