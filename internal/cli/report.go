package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/shell"
)

// interruptible ends the work at the first signal that asks for it, and notes
// which it was.
func (a *app) interruptible(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(signals, syscall.SIGHUP) // the terminal is gone
	}
	go func() {
		select {
		case s := <-signals:
			a.ended.Store(int32(s.(syscall.Signal)))
			cancel()
		case <-ctx.Done():
		}
	}()
	a.ends = append(a.ends, func() { signal.Stop(signals); cancel() })
	return ctx
}

// reach says how the shell of this command's user reaches the sandboxes.
func (a *app) reach(base string) {
	osl := "osl"
	if base != defaultBase() {
		osl += " --base " + shell.Quote(base)
	}
	shell.SetReach(osl, a.session != nil)
}

// report writes err to standard error as one paragraph, and returns the exit
// code that belongs to it.
func (a *app) report(err error) int {
	if err == nil {
		return exitDone
	}
	code := exitFailed
	var exit exitError
	var usage usageError
	ended := int(a.ended.Load())
	switch {
	case errors.As(err, &exit):
		code = exit.code
	case ended != 0:
		code = 128 + ended
	case errors.As(err, &usage), errors.Is(err, osl.ErrInvalid), !a.begun:
		code = exitUsage
	}
	text := strings.TrimPrefix(oneLine(a.say(err)), "osl: ")
	switch {
	case text == "":
		return code
	case ended != 0:
		text = a.stopped(err, syscall.Signal(ended))
	case errors.Is(err, context.Canceled):
		text = "interrupted: " + text
	case errors.Is(err, context.DeadlineExceeded) && a.timeout > 0:
		text = fmt.Sprintf("not done within --timeout %v: %s", a.timeout, text)
	}
	// The first line is the sentence; what follows shows the place in a file.
	first, rest, _ := strings.Cut(strings.TrimRight(text, "\n"), "\n")
	fmt.Fprintln(a.stderr, strings.TrimRight("osl: "+first+a.limit(err)+"\n"+rest, "\n"))
	return code
}

// stopped says what an interrupted change has left.
func (a *app) stopped(err error, by syscall.Signal) string {
	name := map[syscall.Signal]string{syscall.SIGINT: "SIGINT", syscall.SIGTERM: "SIGTERM", syscall.SIGHUP: "SIGHUP"}[by]
	text := fmt.Sprintf("%s: interrupted (%s)", a.verb, name)
	var e *osl.Error
	if errors.As(err, &e) && len(e.Left) > 0 {
		return text + "; what was done could not be undone wholly" + e.Because("")
	}
	if !errors.Is(err, context.Canceled) {
		return text + ": " + a.say(err)
	}
	return text + "; nothing was changed"
}

// say tells an error by what the person asked for: the verb and the sandbox.
func (a *app) say(err error) string {
	e, ok := err.(*osl.Error)
	if !ok {
		if list, ok := err.(interface{ Unwrap() []error }); ok && !isWorded(err) {
			var texts []string
			for _, e := range list.Unwrap() {
				texts = append(texts, strings.TrimPrefix(a.say(e), "osl: "))
			}
			return strings.Join(texts, "\n")
		}
		if isLocated(err) {
			return a.verb + " " + err.Error()
		}
		return err.Error()
	}
	if a.verb == "" {
		return e.Error()
	}
	who := ""
	if e.Key != "" {
		who = " " + nameOf(e.Key)
	}
	if e.Interface != "" {
		who += "/" + e.Interface
	} else if e.Key != "" && nameOf(e.Key) != e.Key {
		who += " (" + e.Key + ")"
	}
	return a.verb + who + ": " + e.Because(e.Err.Error()) + a.meant(e)
}

// isWorded reports whether an error of several causes has a text of its own.
func isWorded(err error) bool {
	var joined []string
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		joined = append(joined, e.Error())
	}
	return err.Error() != strings.Join(joined, "\n")
}

// isLocated reports whether an error begins with its place in a file.
func isLocated(err error) bool {
	l, ok := err.(interface{ Located() bool })
	return ok && l.Located()
}

// meant offers the sandbox whose name is nearest to one that there is not.
func (a *app) meant(e *osl.Error) string {
	if e.Interface != "" || !errors.Is(e.Err, osl.ErrNotFound) {
		return ""
	}
	return sandboxMeant(nameOf(e.Key))
}

// sandboxMeant is the hint for a sandbox that there is not: it may be a network, or another is
// called nearly so.
func sandboxMeant(name string) string {
	entries, _ := osl.List(context.Background()) // else nothing is known of networks
	var of []string
	for _, e := range entries {
		if e.Network == name && name != "" {
			of = append(of, e.Name)
		}
	}
	if len(of) > 0 {
		return fmt.Sprintf("; %q is a network, of %s", name, some(of))
	}
	return near.Hint(name, keyNames(osl.BasePath()))
}

// nameOf returns the name of a sandbox in the base path, else its key.
func nameOf(key string) string { return shell.Short(osl.BasePath(), key) }

// oneLine puts the suggestion of cobra for a misspelt verb, which takes several
// lines, into the sentence.
func oneLine(text string) string {
	const asks = "\n\nDid you mean this?"
	before, names, found := strings.Cut(text, asks)
	if !found {
		return text
	}
	return before + "; did you mean " + strings.Join(strings.Fields(names), " or ") + "?"
}

// limit says, of an error met without root, what a user namespace can't do.
func (a *app) limit(err error) string {
	var usage usageError
	switch {
	case a.session == nil, errors.As(err, &usage): // a file that can not be read is one for any user
	case errors.Is(err, osl.ErrPermission), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return "; without root, osl works in a user namespace of yours, which has no rights beyond it: run osl as root for this"
	case a.wantsIn && errors.Is(err, osl.ErrNotFound):
		return "; without root, \"host\" is a private namespace of yours, and the machine's own interfaces can't be moved: run osl as root for this"
	}
	return ""
}
