package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/denial"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/judgement"
	"github.com/kdbus-go/kdbus/wire"
)

// policyOptions are the flags of kdbus policy check and explain.
type policyOptions struct {
	file            string
	system, session bool
	user, peer      policyUser
	busUser         string
	to, from        []string
	fields          map[string]*string // by their names in match rules
	fds             uint32
	broadcast       bool
	unrequested     bool
	overheard       bool
}

func (o *policyOptions) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.file, "config-file", "", "ask the configuration in `FILE`")
	flags.BoolVar(&o.system, "system", false, "ask the configuration of the system bus (the default)")
	flags.BoolVar(&o.session, "session", false, "ask the configuration of session buses")
	cmd.MarkFlagsMutuallyExclusive("config-file", "system", "session")
	o.user.addTo(cmd, "user", "", "the user who connects, owns, sends, or receives: a name or number\n(default: who runs this command)")
	o.peer.addTo(cmd, "peer", "peer-", "the user at the other end of the message")
	flags.StringVar(&o.busUser, "bus-user", "", "the user who runs the bus, who may connect if no rule says\notherwise (default: that of the configuration, or who runs this command)")
	flags.StringSliceVar(&o.to, "to", nil, "the names of the receiver; `NAME`,...")
	flags.StringSliceVar(&o.from, "from", nil, "the names of the sender; `NAME`,...")
	o.fields = make(map[string]*string)
	for _, f := range []struct{ name, usage string }{
		{"type", "`TYPE` of the message: method_call, method_return, error or signal"},
		{"path", "object `PATH` of the message"},
		{"interface", "interface `NAME` of the message; '' for a call without one"},
		{"member", "`NAME` of the method or signal"},
		{"error", "`NAME` of the error"},
	} {
		o.fields[f.name] = flags.String(f.name, "", f.usage)
	}
	flags.Uint32Var(&o.fds, "fds", 0, "`NUMBER` of file descriptors with the message")
	flags.BoolVar(&o.broadcast, "broadcast", false, "the signal is to everybody; it is without --to")
	flags.BoolVar(&o.unrequested, "unrequested", false, "nobody waits for the reply")
	flags.BoolVar(&o.overheard, "eavesdrop", false, "the receiver overhears what is for somebody else")
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions( // it is there
		[]string{"method_call", "method_return", "error", "signal"}, cobra.ShellCompDirectiveNoFileComp))
	for _, name := range []string{"user", "peer", "bus-user"} {
		_ = cmd.RegisterFlagCompletionFunc(name, completeUsers)
	}
}

// question makes a question of the flags and what the text says.
func (o *policyOptions) question(cmd *cobra.Command, kind busconfig.Kind, text *denial.Text, config *busconfig.Config, a *policyAnswer) (*judgement.Question, error) {
	q := &judgement.Question{Kind: kind, Name: text.Name}
	if err := o.refuseFlags(cmd, kind); err != nil {
		return nil, err
	}
	if kind == busconfig.Own {
		if err := wire.CheckWellKnownName(q.Name); err != nil {
			return nil, &exitError{exitUsage, err}
		}
	}
	if kind == busconfig.Own || kind == busconfig.Connect {
		var err error
		if q.Peer, err = o.user.find(nil, text.Fields["sender"], a); err != nil {
			return nil, err
		}
		q.Owner, err = o.owner(config)
		return q, err
	}
	if err := o.message(cmd, text, q); err != nil {
		return nil, err
	}
	return q, o.peers(kind, text, q, a)
}

// refuseFlags refuses flags that say nothing about a question.
func (o *policyOptions) refuseFlags(cmd *cobra.Command, kind busconfig.Kind) error {
	var without []string
	switch kind {
	case busconfig.Own, busconfig.Connect:
		without = []string{"peer", "peer-groups", "peer-at-console", "to", "from", "type", "path", "interface", "member", "error",
			"fds", "broadcast", "unrequested", "eavesdrop"}
	}
	if kind != busconfig.Connect {
		without = append(without, "bus-user")
	}
	for _, name := range without {
		if cmd.Flags().Changed(name) {
			return &exitError{exitUsage, fmt.Errorf("--%s has nothing to do with the question whether a user may %s", name, kind)}
		}
	}
	return nil
}

// peers finds who is at both ends of the message.
func (o *policyOptions) peers(kind busconfig.Kind, text *denial.Text, q *judgement.Question, a *policyAnswer) error {
	sender, receiver := &o.user, &o.peer
	if kind == busconfig.Receive {
		sender, receiver = receiver, sender
	}
	for _, end := range []struct {
		flags *policyUser
		uid   *uint32 // that the text tells
		bus   bool
		name  string
		peer  **judgement.Peer
	}{
		{sender, text.SenderUID, text.FromBus, text.Fields["sender"], &q.Sender},
		{receiver, text.ReceiverUID, text.ToBus, text.Fields["destination"], &q.Receiver},
	} {
		asks := end.flags == &o.user
		switch {
		case end.bus && end.flags.name == "":
			continue // it has no rules
		case !asks && end.flags.name == "" && end.uid == nil:
			continue // it is not known
		case text.Action == denial.Unknown:
			end.name = "" // nothing has happened: if nobody is named it is who runs this
		}
		var err error
		if *end.peer, err = end.flags.find(end.uid, end.name, a); err != nil {
			return err
		}
	}
	return nil
}

// message describes the message that is asked about. Flags count more than the text.
func (o *policyOptions) message(cmd *cobra.Command, text *denial.Text, q *judgement.Question) error {
	field := func(name string) *string {
		if cmd.Flags().Changed(name) {
			return o.fields[name]
		}
		if value, ok := text.Fields[name]; ok {
			return &value
		}
		return nil
	}
	m := &q.Message
	m.Path, m.Interface, m.Member, m.ErrorName = field("path"), field("interface"), field("member"), field("error")
	m.Type = wire.TypeMethodCall
	if name := field("type"); name != nil {
		t, ok := messageTypes[*name]
		if !ok {
			return &exitError{exitUsage, fmt.Errorf("there is no type %q of messages; write method_call, method_return, error or signal", *name)}
		}
		m.Type = t
	}
	if err := o.flagsOfText(text, m); err != nil {
		return &exitError{exitUsage, err}
	}
	m.Overheard = o.overheard
	m.Destination, m.Sender = o.to, o.from
	if name := text.Fields["destination"]; m.Destination == nil && name != "" && !m.Broadcast {
		m.Destination = []string{name}
	}
	if name := text.Fields["sender"]; m.Sender == nil && name != "" {
		m.Sender = []string{name}
	}
	if m.Type == wire.TypeSignal && m.Destination == nil {
		m.Broadcast = true
	}
	text.ToBus = text.ToBus || len(m.Destination) == 1 && m.Destination[0] == busName
	text.FromBus = text.FromBus || len(m.Sender) == 1 && m.Sender[0] == busName
	return errors.Join(check("receiver", m.Destination), check("sender", m.Sender))
}

var messageTypes = map[string]wire.Type{"method_call": wire.TypeMethodCall, "method_return": wire.TypeMethodReturn,
	"error": wire.TypeError, "signal": wire.TypeSignal}

// check refuses what is no name of a peer.
func check(what string, names []string) error {
	for _, name := range names {
		if err := wire.CheckBusName(name); err != nil {
			return &exitError{exitUsage, fmt.Errorf("the name of the %s: %w", what, err)}
		}
	}
	return nil
}

// flagsOfText takes what is no header field.
func (o *policyOptions) flagsOfText(text *denial.Text, m *judgement.Message) error {
	m.Descriptors, m.Broadcast = o.fds, o.broadcast
	m.Requested = !o.unrequested && (m.Type == wire.TypeMethodReturn || m.Type == wire.TypeError)
	if s := text.Fields["fds"]; s != "" && o.fds == 0 {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return fmt.Errorf("fds is %q, which is not a number", s)
		}
		m.Descriptors = uint32(n)
	}
	for name, to := range map[string]*bool{"requested_reply": &m.Requested, "broadcast": &m.Broadcast} {
		switch value, there := text.Fields[name]; {
		case !there:
		case value == "1" || value == "true":
			*to = true
		case value == "0" || value == "false":
			*to = false
		default:
			return fmt.Errorf("%s is %q, but has to be true or false", name, value)
		}
	}
	if m.Broadcast && m.Type != wire.TypeSignal {
		return errors.New("only signals are broadcast; add --type=signal")
	}
	// dbus-daemon calls the bus the destination of a broadcast, and tells the user of the receiver.
	if text.Action != denial.Unknown && m.Type == wire.TypeSignal && text.Fields["destination"] == busName && !text.ToBus {
		m.Broadcast = true
	}
	return nil
}
