"""The form of a connection, filled in as a person does."""



NAME = "GPU Server 1"


def fill_in(page, sshd, **more):
    """Type a server into the form as the guide says."""
    for field, value in {"name": NAME, "host": sshd.host, "port": sshd.port, "user": sshd.user,
                         "key": sshd.key, **more}.items():
        page.locator(f"#f-{field}").fill(str(value))


def connection(page, name=NAME):
    return page.locator(f'.conn[data-connection="{name}"]')
