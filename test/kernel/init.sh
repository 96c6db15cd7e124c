#!/bin/busybox sh
# The first process of the test machine: it runs what the file /runs says, a
# line each ("name user directory environment command"), and tells the outside
# by lines that begin with @@ how each ended. Then the machine is off.
/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs -o mode=755 run /run
chmod 666 /dev/net/tun 2>/dev/null
for m in $(cat /modules); do
	modprobe "$m" || echo "@@ missing $m"
done
echo "@@ kernel $(uname -r)"
while read -r name user dir env command; do
	# A new line: the last output may have ended without one.
	printf '\n@@ begin %s\n' "$name"
	start=$(date +%s)
	(cd "$dir" && exec /usr/bin/setpriv --reuid "$user" --regid "$user" --clear-groups env $env $command) </dev/null
	status=$?
	printf '\n@@ end %s %d %d\n' "$name" "$status" "$(($(date +%s) - start))"
done </runs
echo "@@ done"
poweroff -f
