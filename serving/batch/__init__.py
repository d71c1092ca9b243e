"""Photos, video frames or TFRecords in, Parquet or TFRecord files of people out: an Apache Beam pipeline over an export.

`python -m serving.batch --help`; serving/README.md explains the files it writes.
"""
