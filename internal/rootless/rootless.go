// Package rootless gives the osl command, started without root, a user,
// network and mount namespace of its own. They are kept by a holder, a process
// that does nothing; later commands of the same user find and join it. It dies
// with the last sandbox.
package rootless

// HolderVerb is the hidden first argument that makes the command a holder.
const HolderVerb = "__holder"

// BaseEnv names the environment variable with the base path that a command in
// the user's own namespaces uses, and any that it starts.
const BaseEnv = "OSL_BASE"
