"""Where archives come from: Google Drive, a web server, a folder, or the synthetic slides."""
