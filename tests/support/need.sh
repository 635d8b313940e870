#!/bin/sh
# The real parts the tests run against. Installs what is missing where it can (Debian, root), says so where it can't.
# `need.sh slurm`, `spark`, `servers`, `windows`, `browsers`: those of `make slurm`, `make spark`, of the servers in `make chaos`, of
# `make windows` and of `make browsers` alone.
missing=""
if [ "$1" = servers ]; then
    PATH=$PATH:/usr/sbin:/sbin
    command -v dropbear >/dev/null || missing="$missing dropbear-bin"
    command -v tinysshd >/dev/null || missing="$missing tinysshd"
    command -v proftpd >/dev/null || missing="$missing proftpd-core proftpd-mod-crypto"
    command -v rclone >/dev/null || missing="$missing rclone"
    command -v unshare >/dev/null || missing="$missing util-linux"
    command -v softhsm2-util >/dev/null || missing="$missing softhsm2"
    command -v pkcs11-tool >/dev/null || missing="$missing opensc"
    command -v oathtool >/dev/null || missing="$missing oathtool"
    [ -e /lib/*/security/pam_google_authenticator.so ] || missing="$missing libpam-google-authenticator"
    command -v puttygen >/dev/null || missing="$missing putty-tools"
    command -v krb5kdc >/dev/null || missing="$missing krb5-kdc"
    command -v kadmin.local >/dev/null || missing="$missing krb5-admin-server"
    command -v kinit >/dev/null || missing="$missing krb5-user"
    command -v ksh >/dev/null || missing="$missing ksh"
    command -v mksh >/dev/null || missing="$missing mksh"
    command -v elvish >/dev/null || missing="$missing elvish"
    [ -z "$missing" ] || echo "make chaos needs these Debian packages and installs them where it may:$missing" >&2
elif [ "$1" = browsers ]; then
    command -v firefox-esr >/dev/null || missing="$missing firefox-esr"
    command -v WebKitWebDriver >/dev/null || missing="$missing webkit2gtk-driver"
    command -v Xvfb >/dev/null || missing="$missing xvfb"
    command -v node >/dev/null || missing="$missing nodejs"
    command -v npm >/dev/null || missing="$missing npm"
    [ -z "$missing" ] || echo "make browsers needs these Debian packages and installs them where it may:$missing" >&2
elif [ "$1" = windows ]; then
    command -v wine >/dev/null || missing="$missing wine wine64"
    [ -x /usr/sbin/sshd ] || missing="$missing openssh-server"
    command -v ssh-keygen >/dev/null || missing="$missing openssh-client"
elif [ "$1" = spark ]; then
    command -v java >/dev/null || missing="$missing openjdk-17-jre-headless"
    [ -z "$missing" ] || echo "make spark needs these Debian packages and installs them where it may:$missing" >&2
elif [ "$1" = slurm ]; then
    PATH=$PATH:/usr/sbin:/sbin
    command -v slurmctld >/dev/null || missing="$missing slurmctld"
    command -v slurmd >/dev/null || missing="$missing slurmd"
    command -v sbatch >/dev/null || missing="$missing slurm-client"
    command -v munged >/dev/null || missing="$missing munge"
    command -v unshare >/dev/null || missing="$missing util-linux"
    [ -z "$missing" ] || echo "make slurm needs these Debian packages and installs them where it may:$missing" >&2
else
    [ -x /usr/sbin/sshd ] || missing="$missing openssh-server"
    command -v ssh >/dev/null || missing="$missing openssh-client"
    command -v chromium >/dev/null || missing="$missing chromium"
    command -v chromium-headless-shell >/dev/null || ! apt-cache show chromium-headless-shell >/dev/null 2>&1 || missing="$missing chromium-headless-shell"
    command -v rsync >/dev/null || missing="$missing rsync"
    command -v gcc >/dev/null || missing="$missing gcc libc6-dev"
    command -v nc >/dev/null || missing="$missing netcat-openbsd"
    command -v curl >/dev/null || missing="$missing curl"
    command -v zsh >/dev/null || missing="$missing zsh"
    command -v tcsh >/dev/null || missing="$missing tcsh"
    command -v fish >/dev/null || missing="$missing fish"
    command -v crontab >/dev/null || missing="$missing cron"
    command -v systemd-analyze >/dev/null || missing="$missing systemd"
    command -v setpriv >/dev/null || missing="$missing util-linux"
    fc-list 2>/dev/null | grep -qi "noto.*cjk" || missing="$missing fontconfig fonts-noto-cjk"
    [ -z "$missing" ] || echo "the tests need these Debian packages and install them where they may:$missing" >&2
fi
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing >/dev/null && exit 0
fi
echo "tests need these Debian packages, and they could not be installed:$missing" >&2
exit 1
