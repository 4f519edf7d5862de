"""Stage extract: archives of any known layout to one plain folder."""
