"""Stage download: the archives of the chosen source, verified."""
