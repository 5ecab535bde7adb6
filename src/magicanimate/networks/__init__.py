"""The networks, and how pictures become their inputs."""
