"""What writers do, and how it is measured; the statements are in the files of SQL."""
