"""A server's root, copied to this disk and kept true: what is there, what is here, what to fetch. Imports
ground and of ssh what asks a server (sftp, sftp_answers, grants, remote_shell). Begin with sync (the loop),
then remote_root (what is known of the server while a line is up); plan decides, fetcher fetches, local_copy
writes."""
