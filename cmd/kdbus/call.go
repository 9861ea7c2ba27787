package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/transcript"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/values"
)

// valueHelp says how values are typed.
const valueHelp = `Values follow their SIGNATURE, one argument each: numbers, strings, and yes or no. An
array begins with the number of its elements, a dictionary is an array of keys and
values, a struct is its fields, and a variant begins with its own signature:

  s hello      as 2 one two      a{sv} 1 volume d 0.5      (us) 7 seven      h 0

A text that begins with a dash needs "--" somewhere before it; a number does not.`

// callOptions are the flags of kdbus call.
type callOptions struct {
	bus                            *busFlags
	json                           *jsontext.Mode
	quiet, verbose                 bool
	expectReply, autoStart, mayAsk boolean
	timeout                        *duration
}

func newCallCommand() *cobra.Command {
	var options callOptions
	cmd := &cobra.Command{
		Use:   "call [flags] SERVICE OBJECT INTERFACE METHOD [SIGNATURE [VALUE...]]",
		Short: "Call a method",
		Long: `Calls a method of an object and prints what it answers: in one line, as values are typed
here; as a tree with --verbose; or as JSON.

` + valueHelp,
		Example: `  kdbus call --user org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ListNames
  kdbus call --user org.freedesktop.DBus / org.freedesktop.DBus NameHasOwner s org.example.Name`,
		Args:              operands,
		ValidArgsFunction: completeMember(kindMethod),
	}
	options.bus = addBusFlags(cmd)
	options.json = jsonFlags(cmd)
	options.timeout = timeoutFlag(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&options.quiet, "quiet", "q", false, "do not print the answer")
	flags.BoolVar(&options.verbose, "verbose", false, "print the answer as a tree")
	boolVar(cmd, &options.expectReply, "expect-reply", true, "wait for an answer")
	boolVar(cmd, &options.autoStart, "auto-start", true, "start the service if it is not there")
	boolVar(cmd, &options.mayAsk, "allow-interactive-authorization", true, "let the service ask the user for permission")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return runCall(cmd, args, &options) }
	return cmd
}

func runCall(cmd *cobra.Command, args []string, o *callOptions) error {
	if err := errors.Join(checkTarget(args[0], args[1]), checkMember(args[2], args[3])); err != nil {
		return err
	}
	body, err := parseBody(args[4:])
	if err != nil {
		return err
	}
	conn, err := o.bus.dial(cmd.Context(), kdbus.Dialer{})
	if err != nil {
		return err
	}
	defer conn.Close()
	var flags kdbus.Flags
	if !o.autoStart {
		flags |= kdbus.NoAutoStart
	}
	if o.mayAsk {
		flags |= kdbus.AllowInteractiveAuthorization
	}
	object := conn.Object(args[0], kdbus.ObjectPath(args[1])).With(flags)
	method := args[2] + "." + args[3]
	if !o.expectReply {
		if err := object.SendRaw(cmd.Context(), method, body); err != nil {
			return fmt.Errorf("the call failed: %w", plain(err))
		}
		return nil
	}
	ctx, cancel := o.timeout.bound(cmd.Context())
	defer cancel()
	reply, err := object.CallRaw(ctx, method, body)
	if err != nil {
		return callFailed(err, args[0], *o.timeout)
	}
	if o.quiet {
		return nil
	}
	return printAnswer(cmd.OutOrStdout(), reply, o.verbose, *o.json)
}

// parseBody reads what is behind the names: a signature and values, or nothing.
func parseBody(args []string) (kdbus.Body, error) {
	if len(args) == 0 {
		return kdbus.Body{}, nil
	}
	return values.Parse(args[0], args[1:])
}

// callFailed says why there is no answer.
func callFailed(err error, service string, timeout duration) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the call failed: %s did not answer within %v; --timeout gives it longer", service, timeout.effective())
	}
	if errors.Is(err, kdbus.ErrNoReply) && errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("the call failed: %s has left the bus without answering", service)
	}
	return fmt.Errorf("the call failed: %w", plain(err))
}

// printAnswer prints the body of a message.
func printAnswer(out io.Writer, m *kdbus.Message, verbose bool, mode jsontext.Mode) error {
	var text []byte
	var err error
	switch {
	case m.Signature() == "":
		return nil
	case mode != jsontext.Off:
		var data []any
		data, err = values.JSON(m)
		text = jsontext.Append(nil, values.Typed(string(m.Signature()), data), mode)
	case verbose:
		text, err = transcript.AppendBody(nil, m)
	default:
		text = append([]byte(m.Signature()), ' ')
		var line []byte
		line, err = values.AppendTerse(nil, m)
		text = append(append(text, line...), '\n')
	}
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	_, err = out.Write(text)
	return err
}

// defaultTimeout is how long an answer is waited for, as in other implementations of D-Bus.
const defaultTimeout = 25 * time.Second

// duration is a span of time as a flag's value: seconds, or as time spans of systemd.time(7).
type duration time.Duration

// timeoutFlag adds --timeout.
func timeoutFlag(cmd *cobra.Command) *duration {
	d := duration(defaultTimeout)
	cmd.Flags().Var(&d, "timeout", "how long to wait for each answer: 5s, 500ms, 2min")
	return &d
}

// Set is pflag.Value's.
func (d *duration) Set(s string) error {
	total := time.Duration(0)
	if s == "infinity" {
		*d = forEver
		return nil
	}
	if strings.TrimSpace(s) == "" {
		return errors.New("write a time such as 5s, 500ms or 2min")
	}
	for rest := strings.TrimSpace(s); rest != ""; {
		number := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789."))]
		rest = strings.TrimSpace(rest[len(number):])
		unit := rest[:len(rest)-len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyzM"))]
		rest = strings.TrimSpace(rest[len(unit):])
		value, err := strconv.ParseFloat(number, 64)
		size, ok := timeUnits[unit]
		if err != nil || !ok || value*float64(size) > float64(1<<62) {
			return fmt.Errorf("%q is no time; write for example 5s, 500ms or 2min", s)
		}
		total += time.Duration(value * float64(size))
	}
	*d = duration(total)
	return nil
}

// timeUnits are the units of time spans.
var timeUnits = map[string]time.Duration{
	"": time.Second, "s": time.Second, "sec": time.Second, "second": time.Second, "seconds": time.Second,
	"us": time.Microsecond, "usec": time.Microsecond, "ms": time.Millisecond, "msec": time.Millisecond,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
	"w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
	"M": 730*time.Hour + 30*time.Minute, "month": 730*time.Hour + 30*time.Minute, "months": 730*time.Hour + 30*time.Minute,
	"y": 8766 * time.Hour, "year": 8766 * time.Hour, "years": 8766 * time.Hour,
}

// String is pflag.Value's.
func (d *duration) String() string {
	if *d == forEver {
		return "infinity"
	}
	return time.Duration(*d).String()
}

// Type is pflag.Value's.
func (*duration) Type() string { return "TIME" }

// forEver is a time that does not end.
const forEver duration = 1<<63 - 1

// bound returns a context that ends when the time is over: if that is 0, after defaultTimeout, as with
// busctl.
func (d duration) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if d == forEver {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d.effective())
}

// effective is the time that is waited if there is an end to it.
func (d duration) effective() time.Duration {
	if d == 0 {
		return defaultTimeout
	}
	return time.Duration(d)
}
