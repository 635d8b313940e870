"""The connections a user has named: added, tested, started, paused, asked about. Imports ground, ssh and
mirror. Begin with registry, then connection (one at work); doctor tests one, line by line."""
