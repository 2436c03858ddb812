"""Images, trimaps and labels on disk, in folders and lists."""
