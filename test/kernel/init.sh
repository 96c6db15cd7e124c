#!/bin/busybox sh
# The first process of the test machine. It runs what the files /runs.* say, a
# line for each run: "name user directory environment command". Lines that begin
# with @@ tell the outside how each ended. Then the machine is off.
/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs -o mode=755 run /run
# Else each namespace has the tunnels of each module that is loaded.
echo 2 >/proc/sys/net/core/fb_tunnels_only_for_init_net
for m in $(cat /modules); do
	modprobe "$m" || echo "@@ missing $m"
done
chmod 666 /dev/net/tun
echo "@@ kernel $(uname -r)"
# lane does the runs of a file one after the other. What a run prints is shown
# when it has ended, so that the output of two lanes does not mix.
lane() {
	while read -r name user dir env command; do
		start=$(date +%s)
		(cd "$dir" && exec /usr/bin/setpriv --reuid "$user" --regid "$user" --clear-groups env $env $command) \
			</dev/null >"/tmp/$name" 2>&1
		status=$?
		(
			flock 9
			printf '\n@@ begin %s\n' "$name"
			cat "/tmp/$name"
			printf '\n@@ end %s %d %d\n' "$name" "$status" "$(($(date +%s) - start))"
		) 9>/tmp/lock
	done <"$1"
}
for runs in /runs.*; do lane "$runs" & done
wait
echo "@@ done"
poweroff -f
