package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/denial"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/judgement"
)

// The exit codes of kdbus policy check and explain.
const (
	exitAllowed    = 0
	exitDenied     = 1
	exitUnanswered = 3
)

const policyExit = `  0  allowed
  1  denied
  2  the command line is wrong
  3  there is no answer, say because the configuration cannot be read
`

func newPolicyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Ask what a configuration's policy allows",
		Long: `Answers from configuration files who may connect to a bus, own a name, and send or receive a
message, and which rule of which file says so. No bus is asked, so that a file can be tried before
it is installed. The configuration is that of dbus-daemon(1).`,
		Example: `  kdbus policy check --user=www-data own org.example.A
  kdbus policy explain 'Rejected send message, 2 matched rules; type="method_call", ...'`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyVerb("check", policyCheckText), newPolicyVerb("explain", policyExplainText))
	return cmd
}

// policyText is what the help says of one of the two commands.
type policyText struct{ short, long, example string }

const policyQuestions = `A QUESTION is one of
  connect            may the user connect to the bus at all?
  own NAME           may the user own the well-known name?
  send [MESSAGE]     may the user send a message?
  receive [MESSAGE]  may the user receive a message?
  TEXT               the error "Rejected send message, ..." of a client, or such a line of
                     the log of kdbus, dbus-daemon or dbus-broker; - reads it from standard input
The message is described by flags, or by NAME=VALUE as in a match rule: type, sender,
destination, path, interface, member, error, requested_reply, fds, broadcast. It is a
method call unless something else is said. What is not said of it is taken to be something
that no rule mentions.

Users are looked up in the user database of this machine, with their groups. If --peer
tells the user at the other end of the message, the rules of both ends are asked: the
sender has to be allowed to send it, and the receiver to receive it. Rules about a name
concern all names of a peer, also those for which it waits; give all of them to --to and
--from if the peer has several.`

var policyCheckText = policyText{
	"Tell whether a policy allows something",
	`Tells whether the policy of a bus's configuration allows something, and the rule that decides.

` + policyQuestions,
	`  # may the web server call this method?
  kdbus policy check --user=www-data send --to=org.freedesktop.login1 \
      --interface=org.freedesktop.login1.Manager --member=PowerOff

  # try a file before it is installed
  kdbus policy check --config-file=new.conf --user=daemon own org.example.A && echo fine`,
}

var policyExplainText = policyText{
	"Tell why a policy allows or denies something",
	`Tells whether the policy of a bus's configuration allows something, and why: all rules that match,
in the order of evaluation, the last of which decides; those that do not count because a
later rule makes them void; and for what was left open in the question, when the answer would be
another one.

` + policyQuestions,
	`  # why was this refused? (the error as it was printed)
  kdbus policy explain 'Rejected send message, 2 matched rules; type="method_call", ...'
  journalctl -b -t dbus-daemon -g 'Rejected send' -n 1 -o cat | kdbus policy explain -

  # what may anybody call?
  kdbus policy explain --user=nobody send

  # may avahi's signal reach a user?
  kdbus policy explain --user=joe --peer=avahi receive type=signal,sender=org.freedesktop.Avahi`,
}

func newPolicyVerb(verb string, text policyText) *cobra.Command {
	var options policyOptions
	cmd := &cobra.Command{
		Use:         verb + " [flags] QUESTION",
		Short:       text.short,
		Long:        text.long,
		Example:     text.example,
		Annotations: map[string]string{exitAnnotation: policyExit},
		Args:        usage(cobra.MinimumNArgs(1)),
		ValidArgs:   []string{"connect", "own", "send", "receive"},
	}
	options.addTo(cmd)
	mode := jsonFlags(cmd)
	print := pagerFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		answer, err := answerQuestion(cmd, &options, args)
		if err != nil {
			if exit, ok := errors.AsType[*exitError](err); ok {
				return exit
			}
			return &exitError{exitUnanswered, err}
		}
		answer.brief = verb == "check"
		var out []byte
		if *mode != jsontext.Off {
			out = jsontext.Append(nil, answer.json(), *mode)
		} else {
			out = answer.text(styleOf(cmd.OutOrStdout()))
		}
		if err := print(out); err != nil {
			return &exitError{exitUnanswered, err}
		}
		if !judgement.Allowed(answer.judgements) {
			return &exitError{code: exitDenied}
		}
		return nil
	}
	return cmd
}

// answerQuestion finds out what is asked, and asks the policy.
func answerQuestion(cmd *cobra.Command, o *policyOptions, args []string) (*policyAnswer, error) {
	text, kind, err := readQuestion(cmd, args)
	if err != nil {
		return nil, err
	}
	file := o.configFile()
	config, err := busconfig.Parse(file)
	if err != nil {
		return nil, err
	}
	a := &policyAnswer{config: config, said: text}
	if a.question, err = o.question(cmd, kind, text, config, a); err != nil {
		return nil, err
	}
	a.judgements = judgement.Of(config.Policy, a.question)
	if len(a.judgements) == 0 {
		return nil, errors.New("nobody's rules are known; add --user or --peer")
	}
	a.annotate()
	return a, nil
}

// readQuestion takes the arguments apart.
func readQuestion(cmd *cobra.Command, args []string) (*denial.Text, busconfig.Kind, error) {
	kinds := map[string]busconfig.Kind{"connect": busconfig.Connect, "own": busconfig.Own, "send": busconfig.Send, "receive": busconfig.Receive}
	wrong := func(format string, a ...any) error { return &exitError{exitUsage, fmt.Errorf(format, a...)} }
	kind, isKind := kinds[args[0]]
	switch rest := args[1:]; {
	case isKind && kind == busconfig.Connect && len(rest) > 0:
		return nil, 0, wrong("connect takes no argument, and not %q", rest[0])
	case isKind && kind == busconfig.Own:
		if len(rest) != 1 {
			return nil, 0, wrong("own takes one argument, the well-known name")
		}
		return &denial.Text{Action: denial.Own, Name: rest[0], Rules: -1}, kind, nil
	case isKind:
		text, err := denial.Parse(strings.Join(rest, " "))
		if err != nil {
			return nil, 0, wrong("%v", err)
		}
		return text, kind, nil
	}
	source := strings.Join(args, " ")
	if source == "-" {
		b, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), denial.MaxLength+1))
		if err != nil {
			return nil, 0, fmt.Errorf("reading standard input: %w", err)
		}
		source = string(b)
	}
	text, err := denial.Parse(source)
	if err != nil {
		return nil, 0, wrong("%v; questions begin with connect, own, send or receive", err)
	}
	switch text.Action {
	case denial.Own:
		kind = busconfig.Own
	case denial.Receive:
		kind = busconfig.Receive
	default:
		kind = busconfig.Send
	}
	return text, kind, nil
}

// configFile is the configuration that is asked.
func (o *policyOptions) configFile() string {
	switch {
	case o.file != "":
		return o.file
	case o.session:
		return standardConfig("session")
	}
	return standardConfig("system")
}
