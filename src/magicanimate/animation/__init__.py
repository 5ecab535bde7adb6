"""One animation: settings, job, pipeline, and the file that is written."""
