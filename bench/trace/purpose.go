//go:build linux

package main

import "regexp"

// purposes say what a call is for, the first that matches its text.
var purposes = []struct {
	text *regexp.Regexp
	what string
}{
	{regexp.MustCompile(`osl\.lock`), "the key's lock: nobody else changes or ends the sandbox meanwhile"},
	{regexp.MustCompile(`mountinfo|^newfstatat\("/run/\w+/netns/\w+"`), "is the key this namespace still: a path whose mount has gone is nobody's to change"},
	{regexp.MustCompile(`^newfstatat\("/run`), "the one name of the key's directory, so that all lock the same"},
	{regexp.MustCompile(`^(gettid|readlinkat)`), "where the caller's thread is, so that it comes back there"},
	{regexp.MustCompile(`LINKPROP`), "the record of the change, so that a kill leaves nothing of it"},
	{regexp.MustCompile(`^(open|getdents64|close).*"?/run/\w+/netns>?"?(,|\)|$)`), "was it the last sandbox"},
	{regexp.MustCompile(`^openat\("/run/\w+/netns/\w+", O_RDONLY\|O_NOFOLLOW`), "is there something at the key, which would be lost"},
	{regexp.MustCompile(`sys/net`), "settings: IPv6 off until it is asked for, no wait for duplicates of addresses"},
	{regexp.MustCompile(`^(unshare|setns)`), "the namespace, and back"},
	{regexp.MustCompile(`^(mount|umount2|move_mount|open_tree|unlinkat)|O_CREAT|^close.*/run/`), "the pin"},
	{regexp.MustCompile(`^(socket|setsockopt)`), "the socket, with the kernel's texts of errors"},
	{regexp.MustCompile(`SIOCGSKNS|^fstat.*net:|^close.*net:`), "which namespace it is"},
	{regexp.MustCompile(`^(sendmsg|write)\(.*(NEW|DEL)`), "the change itself"},
	{regexp.MustCompile(`GETADDR|GETLINK|GETROUTE|GETNEIGH|GETRULE|GETNETCONF|GETNEXTHOP`), "reading: what a dead process left, what is in the way, what the kernel made of it"},
	{regexp.MustCompile(`^(recvfrom|recvmsg|read)\b`), "the answers"},
}

// purpose says what the call is for.
func (c call) purpose() string {
	for _, p := range purposes {
		if p.text.MatchString(c.text) {
			return p.what
		}
	}
	return "closing what was open, and the like"
}
