"""A line to a server: host keys, logins, channels, an SFTP client; by paramiko (remote) or by the system's
own ssh (system_remote). Imports ground. Begin with remote.connect, then sftp."""
